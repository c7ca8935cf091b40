// The SMTP session against a model of RFC 5321 §4.1.4, from every state, and against random bytes from every state. CWE-841
// (improper enforcement of a behavioural workflow), CWE-248.
import fc from 'fast-check'
import t from 'tap'
import { RawClient } from '#world'
import { randomFrom } from '../../scripts/prove/crash/options.ts'
import { mutate } from '../../scripts/prove/fuzz/mutate.ts'
import { COMMANDS, moves, START } from '../../scripts/prove/fuzz/session-model.ts'
import { openRig } from '../intake/rig.ts'

const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 1e9))
const RUNS = Number(process.env.FUZZ_RUNS ?? 300)

async function open(t: Parameters<typeof openRig>[0]) {
  const rig = await openRig(t, {
    settings: {
      ...{ trusted_listen: ['127.0.0.1:0'], trusted_networks: ['127.0.0.0/8'], trusted_domains: ['example.com'] },
      ...{ max_errors: 1_000_000, max_recipients: 1000, idle_timeout: 20 },
    },
  })
  return { rig, port: rig.port('trusted') }
}

await t.test(`${RUNS} random sessions answer as the model says (seed ${SEED})`, async (t) => {
  const { rig, port } = await open(t)
  await fc.assert(
    fc.asyncProperty(moves, async (sequence) => {
      const client = await RawClient.open(port)
      try {
        await client.reply()
        let state = START
        let kept = 0
        const before = rig.queue.messages.length
        for (const { step, content } of sequence) {
          client.write(step.bytes)
          const reply = await client.reply()
          const { codes, after } = step.answer(state)
          if (reply === null || !codes.includes(reply.code))
            throw new Error(
              `${step.name} in ${JSON.stringify(state)}: ${reply?.lines.join(' | ')}, wanted ${codes.join()}`,
            )
          state = after(reply.code)
          if (content === null || reply.code !== 354) continue
          client.write(content)
          const end = await client.reply()
          if (end?.code === 250) kept += 1
          else if (end?.code !== 554) throw new Error(`content: ${end?.lines.join(' | ')}`)
        }
        if (rig.queue.messages.length - before !== kept)
          throw new Error(`${kept} were answered 250, ${rig.queue.messages.length - before} are kept`)
      } finally {
        client.close()
      }
    }),
    { seed: SEED, numRuns: RUNS },
  )
  t.pass(`${RUNS} sessions`)
})

const STATES: readonly [string, string][] = [
  ['before EHLO', ''],
  ['after EHLO', 'EHLO c.example\r\n'],
  ['after MAIL', 'EHLO c.example\r\nMAIL FROM:<app@example.com>\r\n'],
  ['after RCPT', 'EHLO c.example\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<you@example.net>\r\n'],
  ['in the content', 'EHLO c.example\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n'],
]
const SEEDS = [
  ...COMMANDS.map((step) => Buffer.from(step.bytes)),
  Buffer.from('From: <app@example.com>\r\n\r\nx\r\n.\r\n'),
]

await t.test(`random bytes from every state (seed ${SEED})`, async (t) => {
  const { rig, port } = await open(t)
  const random = randomFrom(SEED)
  let answered = 0
  let longestMs = 0
  for (let i = 0; i < RUNS; i++) {
    const [, prelude] = STATES[i % STATES.length]!
    const client = await RawClient.open(port)
    const bytes = Buffer.concat(
      Array.from({ length: 5 }, () => mutate(SEEDS[Math.floor(random() * SEEDS.length)]!, SEEDS, random)),
    )
    const began = performance.now()
    client.write(Buffer.concat([Buffer.from(prelude), bytes, Buffer.from('\r\n.\r\nQUIT\r\n')]))
    const said = await Promise.race([
      client.drain(),
      new Promise<string>((resolve) => setTimeout(resolve, 5000, 'late')),
    ])
    if (said === 'late') t.fail(`no end for ${bytes.toString('base64')}`)
    longestMs = Math.max(longestMs, performance.now() - began)
    answered += (said.match(/^250 2\.0\.0 queued as /gm) ?? []).length
    for (const line of said.split('\r\n'))
      if (line !== '' && !/^\d{3}[ -]/.test(line)) t.fail(`not a reply: ${JSON.stringify(line)}`)
    client.close()
  }
  t.equal(
    rig.queue.messages.length,
    answered,
    `${RUNS} sessions, ${answered} messages, the longest ${longestMs.toFixed(0)} ms`,
  )
  for (const { content } of rig.queue.messages)
    t.notMatch(Buffer.from(content).toString('latin1'), /[^\r]\n|\r[^\n]|\0/, 'no bare line end, no NUL')
})
