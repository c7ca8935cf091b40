// CWE-532, CWE-312: passwords, tokens, keys and what is made of them stand in no line of the log, no answer, no event, no
// transcript, no command's output, and in the clear nowhere in the data directory.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { RawClient, scriptedMx, worldCa } from '#world'
import { DOMAIN, messageTo, plain, RELEVO, Wall } from './wall.ts'

const secret = (name: string): string => `${name}-${randomBytes(12).toString('hex')}`

function filesOf(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    const stat = statSync(path)
    return stat.isDirectory() ? filesOf(path) : stat.isFile() ? [path] : []
  })
}

await t.test('planted secrets are found nowhere', async (t) => {
  await using wall = await Wall.open({ more: '[log]\nlevel = "debug"' })
  await using relay = await scriptedMx({
    behaviour: {
      offers: ['PIPELINING', 'AUTH PLAIN LOGIN'],
      other: (s, line) => {
        s.say(line.startsWith('AUTH') ? '535 5.7.8 no' : '250 2.0.0 ok')
        return undefined
      },
    },
  })
  const { rig } = wall
  const wrongPassword = secret('wrong')
  const relayPassword = secret('relay')
  const cliPassword = secret('cli')
  const cookie = secret('cookie')
  const inBody = secret('body')
  const badToken = `rlv_${randomBytes(32).toString('base64url')}`
  const output: string[] = []
  // The relay lives in this process: it must be able to answer meanwhile.
  const cli = (...args: string[]): Promise<void> =>
    new Promise((resolve) => {
      execFile(RELEVO, [...args, '--config', rig.configFile], (_error, stdout, stderr) => {
        output.push(stdout, stderr)
        resolve()
      })
    })
  const passwordFile = join(rig.directory, 'relay-password')
  writeFileSync(passwordFile, relayPassword, { mode: 0o600 })
  const caFile = join(rig.directory, 'ca.pem')
  writeFileSync(caFile, (await worldCa()).cert)

  // Log-ins, right, wrong and malformed, with and without TLS.
  const good = await wall.session('465')
  await good.ask(`MAIL FROM:<app@${DOMAIN}>`)
  await good.ask('RCPT TO:<you@good.test>')
  await good.ask('DATA')
  await good.ask(`${messageTo('you@good.test', inBody)}\r\n.`)
  good.close()
  const guess = await wall.session('587', false)
  await guess.ask(plain('shop', wrongPassword))
  await guess.ask('AUTH LOGIN')
  await guess.ask(Buffer.from('shop').toString('base64'))
  await guess.ask(Buffer.from(wrongPassword).toString('base64'))
  await guess.ask(`AUTH PLAIN ${wall.password}`)
  guess.close()
  const clear = await RawClient.open(rig.ports.starttls)
  await clear.reply()
  await clear.ask('EHLO x.test')
  await clear.ask(plain('shop', wall.password))
  await clear.ask(`AUTH ${wall.password}`)
  clear.close()

  // HTTP: right and wrong tokens, cookies, and secrets in requests that fail.
  const url = `http://127.0.0.1:${rig.ports.http}/api/email-system`
  const ask = async (path: string, init: RequestInit): Promise<void> =>
    void output.push(await (await fetch(url + path, init)).text())
  for (const token of [wall.token, badToken]) {
    const headers = {
      authorization: `Bearer ${token}`,
      cookie: `session=${cookie}`,
      'content-type': 'application/json',
    }
    await ask('/queue', { headers })
    await ask('/nothing-here', { headers })
    await ask('/queue', { method: 'POST', headers, body: '{"from":' })
    await ask('/credentials', {
      method: 'POST',
      headers,
      body: JSON.stringify({ username: 'x', password: cliPassword, nonsense: 1 }),
    })
  }
  await rig.api
    .post('/credentials', { username: 'y z', password: cliPassword, allowed: [] })
    .catch((error: unknown) => output.push(String(error)))
  await rig.api
    .post('/credentials', { username: 'z', password: cliPassword, allowed: [], nonsense: 1 })
    .catch((error: unknown) => output.push(String(error)))

  // A relay that refuses the log-in.
  await cli(
    'provider',
    'add',
    'net',
    '--host',
    '127.0.0.1',
    '--port',
    String(relay.port),
    '--username',
    'u',
    '--ca-file',
    caFile,
    '--password-file',
    passwordFile,
  )
  await cli('provider', 'test', 'net')
  t.ok(
    relay.commands.some((line) => line.startsWith('AUTH')),
    'the relay was given the password',
  )
  await cli('provider', 'list', '--json')
  for (const args of [
    ['status'],
    ['config', 'explain'],
    ['queue', 'list', '--json'],
    ['credential', 'list', '--json'],
    ['token', 'list', '--json'],
    ['domain', 'list', '--json'],
  ])
    await cli(...args)

  await wall.settled()
  for (const path of [
    '/events?limit=200',
    '/status',
    '/providers',
    '/credentials',
    '/tokens',
    '/domains',
    '/queue?limit=200',
  ])
    output.push(JSON.stringify(await rig.api.get(path)))
  const { messages } = await rig.api.get<{ messages: { id: string }[] }>('/queue?limit=200')
  t.ok(messages.length > 0)
  for (const { id } of messages) output.push(JSON.stringify(await rig.api.get(`/queue/${id}`)))
  output.push(await (await fetch(`http://127.0.0.1:${rig.ports.metrics}/metrics`)).text())
  const data = join(rig.directory, 'data')
  const masterKey = readFileSync(join(data, 'master.key'), 'utf8').trim()
  t.equal(await rig.end('SIGTERM'), 0)
  output.push(rig.output)

  const planted: Record<string, string> = {
    password: wall.password,
    wrongPassword,
    relayPassword,
    cliPassword,
    cookie,
    token: wall.token,
    badToken,
    masterKey,
  }
  const shapes = (value: string): string[] => [
    value,
    Buffer.from(value).toString('base64').replace(/=+$/, ''),
    Buffer.from(value).toString('hex'),
    Buffer.from(`\0shop\0${value}`).toString('base64').replace(/=+$/, ''),
  ]
  const said = output.join('\n')
  t.ok(
    said.includes('log-in refused') && said.includes('"event":"sent"'),
    'what was looked through holds what happened',
  )
  for (const [name, value] of Object.entries(planted))
    t.notOk(
      shapes(value).some((shape) => said.includes(shape)),
      `${name} is in no output`,
    )
  t.notOk(said.includes(inBody), 'nor is the text of a message')
  t.notMatch(said, /PRIVATE KEY|scrypt\$/, 'nor a key or a hash')

  for (const path of filesOf(data)) {
    const bytes = readFileSync(path)
    for (const [name, value] of Object.entries(planted))
      if (name !== 'masterKey' || !path.endsWith('master.key'))
        t.notOk(
          shapes(value).some((shape) => bytes.includes(shape)),
          `${name} is not in ${path.slice(data.length + 1)}`,
        )
    t.notOk(bytes.includes('PRIVATE KEY'), `no key in the clear in ${path.slice(data.length + 1)}`)
  }
  t.equal(statSync(join(data, 'master.key')).mode & 0o077, 0)
})
