// CWE-307, CWE-208, CWE-400: guessing passwords from many addresses costs the guesser, bounds our work, tells nothing by time,
// and stops no mail of those who are logged in.
import t from 'tap'
import { Stranger } from './source-address.ts'
import { DOMAIN, messageTo, plain, Wall } from './wall.ts'

const GUESSES = 1000
const HOSTS = 50

// Each failure costs its address a longer wait; three, and it is not let in for ten minutes.
await using wall = await Wall.open({ submission: 'max_failed_logins = 3' })

await t.test(`${GUESSES} guesses from ${HOSTS} addresses`, async (t) => {
  const app = await wall.session('465')
  let next = 0
  const answers: Record<string, number> = {}
  const guessers = Promise.all(
    Array.from({ length: HOSTS }, async (_, host) => {
      while (next < GUESSES) {
        const stranger = new Stranger(wall.rig.ports.tls, host, true)
        const guesses = Array.from(
          { length: 10 },
          () => `${plain(next % 2 === 0 ? 'shop' : 'nobody', `guess ${next++}`)}\r\n`,
        )
        stranger.write(`EHLO x.test\r\n${guesses.join('')}QUIT\r\n`)
        await stranger.end(60_000)
        for (const [code] of stranger.text.matchAll(/^(235|535|454|421)(?= )/gm))
          answers[code] = (answers[code] ?? 0) + 1
        // An address turned away is not let in at all for ten minutes.
        if (stranger.text.startsWith('421') || stranger.text === '') answers['421'] = (answers['421'] ?? 0) + 1
        stranger.destroy()
      }
    }),
  )
  let longestMs = 0
  let sent = 0
  let done = false
  void guessers.then(() => {
    done = true
  })
  while (!done) {
    const began = performance.now()
    await app.ask(`MAIL FROM:<app@${DOMAIN}>`)
    await app.ask('RCPT TO:<you@good.test>')
    await app.ask('DATA')
    const reply = await app.ask(`${messageTo('you@good.test')}\r\n.`)
    if (reply.code === 250) sent += 1
    longestMs = Math.max(longestMs, performance.now() - began)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await guessers
  t.equal(answers['235'] ?? 0, 0, `none was right: ${JSON.stringify(answers)}`)
  t.ok((answers['535'] ?? 0) + (answers['454'] ?? 0) + (answers['421'] ?? 0) > 0)
  t.ok(
    sent > 0 && longestMs < 10_000,
    `${sent} messages were taken meanwhile, the slowest in ${longestMs.toFixed(0)} ms`,
  )
  t.ok(await wall.rig.until(() => wall.rig.mx.taken.length >= sent))
  app.close()
})

await t.test('the right one still works from elsewhere, and HTTP tokens are no better to guess', async (t) => {
  const client = await wall.session('587')
  t.equal((await client.ask('NOOP')).code, 250)
  client.close()
  for (const token of [
    '',
    'rlv_',
    `rlv_${'A'.repeat(43)}`,
    `${wall.token}x`,
    wall.token.toLowerCase(),
    `Basic ${wall.token}`,
    '__proto__',
  ]) {
    const response = await fetch(`http://127.0.0.1:${wall.rig.ports.http}/api/email-system/queue`, {
      headers: { authorization: `Bearer ${token}` },
    })
    t.equal(response.status, 401, JSON.stringify(token.slice(0, 12)))
  }
})
