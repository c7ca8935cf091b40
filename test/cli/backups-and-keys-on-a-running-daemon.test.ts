import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { tempDir } from '#world'
import { DaemonRig, DOMAIN, RELEVO } from '../daemon/daemon-rig.ts'
import { relevo, spawned } from './at-the-command-line.ts'

/** Its domains: what goes to good.test is taken, what goes to bad.test waits. */
async function rigged(t: Test): Promise<DaemonRig> {
  const rig = await DaemonRig.open({ bad: 'mail451' })
  t.teardown(() => rig[Symbol.asyncDispose]())
  return rig
}

async function directory(t: Test): Promise<string> {
  const made = await tempDir()
  t.teardown(() => made[Symbol.asyncDispose]())
  return made.path
}

function submit(rig: DaemonRig, to: string) {
  return rig.api.post<{ id: string }>('/queue', {
    ...{ from: `app@${DOMAIN}`, to, subject: 'Hello', text: 'Hello.' },
  })
}

void t.test('a backup under load, the machine lost, the key written down, everything back and held', async (t) => {
  const rig = await rigged(t)
  const apart = await directory(t)
  const copy = join(apart, 'backup')
  const at = (...argv: string[]) => spawned(RELEVO, [...argv, '--config', rig.configFile])
  for (let i = 0; i < 5; i++) await submit(rig, `u${i}@bad.test`)
  let loading = true
  const load = (async () => {
    let n = 0
    for (; loading; n++) await submit(rig, `n${n}@good.test`)
    return n
  })()
  const made = await at('db', 'backup', copy)
  t.equal(made.code, 0, made.stderr)
  t.match(made.stdout, /holds the store of .* messages, \d+ unsettled recipients/)
  t.match(made.stderr, /100 % .*reading it back/s, 'progress is shown')
  loading = false
  t.ok((await load) > 0)
  t.equal((await at('db', 'check', copy)).code, 0)
  t.equal(statSync(copy).mode & 0o777, 0o700)
  const masterKey = readFileSync(join(rig.directory, 'data/master.key'), 'utf8')
  t.notOk(existsSync(join(copy, 'master.key')))
  t.notOk(readFileSync(join(copy, 'manifest.json'), 'utf8').includes(masterKey.trim()))

  const shown = await at('key', 'show-recovery', '--json')
  const { lines, fingerprint } = JSON.parse(shown.stdout) as { lines: string[]; fingerprint: string }
  t.equal(lines.length, 9)
  t.match(await at('key', 'show-recovery'), { code: 65, stderr: /shown once.*key rotate/s })
  t.match(readFileSync(join(copy, 'manifest.json'), 'utf8'), fingerprint)

  // The machine is lost, with its key.
  await rig.end('SIGKILL')
  const data = join(rig.directory, 'data')
  rmSync(data, { recursive: true })
  t.match(await at('db', 'restore', copy), { code: 78, stderr: /master\.key cannot be read/ })
  mkdirSync(data, { mode: 0o700 })
  const other = join(apart, 'other.key')
  writeFileSync(other, `${Buffer.alloc(32, 3).toString('base64')}\n`, { mode: 0o600 })
  t.match(await at('db', 'restore', copy, '--key-file', other), {
    code: 78,
    stderr: /belongs to the master key .*key recover/s,
  })
  const env = { RELEVO_CONFIG: rig.configFile }
  const recover = (stdin: string) => relevo(['key', 'recover'], { env, stdin })
  const typo = lines.map((line, n) => (n === 3 ? `${line.slice(0, -1)}${line.endsWith('7') ? '5' : '7'}` : line))
  t.match(await recover(typo.join('\n')), { code: 65, stderr: /line 4 / })
  t.match(await recover(lines.slice(1).join('\n')), { code: 65, stderr: /8 were given/ })
  const spoken = lines.map((line) => line.slice(3).toLowerCase().replace('-', ' ').replaceAll('0', 'o'))
  t.match(await recover(spoken.join('\n')), { code: 0 })
  t.equal(readFileSync(join(data, 'master.key'), 'utf8'), masterKey)
  t.equal(statSync(join(data, 'master.key')).mode & 0o777, 0o600)
  t.match(await recover(lines.join('\n')), { code: 73, stderr: /there already/ })

  const restored = await at('db', 'restore', copy)
  t.match(restored, {
    code: 0,
    stderr: /the backup holds the store of/,
    stdout: /held until: relevo queue release --restored/,
  })
  t.match(await at('db', 'restore', copy), { code: 73, stderr: /not empty/ })
  t.match(await at('key', 'check'), { code: 0, stdout: new RegExp(fingerprint) })
  const takenBefore = rig.mx.taken.length
  await rig.start()
  const queued = await rig.api.get<{ queue: Record<string, number> }>('/status')
  const held = queued.queue.held!
  t.ok(held >= 5)
  t.equal((queued.queue.ready ?? 0) + (queued.queue.deferred ?? 0), 0)
  const [row] = (await rig.api.get<{ messages: { recipient: { reason: string } }[] }>('/queue?status=held')).messages
  t.match(row!.recipient.reason, /^restored \d{4}-/)
  t.equal(rig.mx.taken.length, takenBefore, 'nothing went out by itself')
  const counted = await at('queue', 'release', '--restored')
  t.match(counted, { code: 0, stdout: new RegExp(`^${held} recipients are held by a restore.*--yes`) })
  t.equal((await rig.api.get<{ queue: Record<string, number> }>('/status')).queue.held, held, 'only counted')
  t.match(await at('queue', 'release', '--restored', '--yes'), { code: 0, stdout: new RegExp(`release: ${held} `) })
  await submit(rig, 'after@good.test')
  t.ok(await rig.until(() => rig.mx.taken.some(({ recipients }) => recipients.includes('after@good.test'))))
})

void t.test(
  'the master key is rotated while mail goes on; cut off anywhere, the next start has the right one',
  async (t) => {
    const rig = await rigged(t)
    const data = join(rig.directory, 'data')
    const file = join(data, 'master.key')
    const apart = await directory(t)
    const at = (...argv: string[]) => spawned(RELEVO, [...argv, '--config', rig.configFile])
    const first = readFileSync(file, 'utf8')
    t.equal((await at('key', 'show-recovery')).code, 0)
    cpSync(file, join(apart, 'first.key'))
    const rotated = await at('key', 'rotate')
    t.match(rotated, { code: 0, stdout: /the master key is [0-9a-f]{16} now/ })
    const second = readFileSync(file, 'utf8')
    t.not(second, first)
    t.equal((await at('key', 'check')).code, 0)
    t.match(await at('key', 'check', '--key-file', join(apart, 'first.key')), { code: 65, stdout: /was sealed with/ })
    t.equal((await at('key', 'show-recovery')).code, 0, 'the new one may be shown')
    await submit(rig, 'signed@good.test')
    t.ok(await rig.until(() => rig.mx.taken.length > 0))
    t.match(rig.mx.taken[0]!.content.toString('latin1'), /DKIM-Signature/)
    await rig.end('SIGTERM')

    // Before the commit: the next key is there, and the records know nothing of it.
    writeFileSync(`${file}.next`, first, { mode: 0o600 })
    await rig.start()
    t.notOk(existsSync(`${file}.next`))
    t.equal(readFileSync(file, 'utf8'), second)
    await rig.end('SIGKILL')
    // After the commit, before the old one was replaced.
    cpSync(file, `${file}.next`)
    chmodSync(`${file}.next`, 0o600)
    cpSync(join(apart, 'first.key'), file)
    await rig.start()
    t.equal(readFileSync(file, 'utf8'), second)
    t.notOk(existsSync(`${file}.next`))
    t.equal((await at('key', 'check')).code, 0)

    // A key of one's own: only the records change, and a start without it is refused.
    const own = join(apart, 'own.key')
    writeFileSync(own, `${Buffer.alloc(32, 9).toString('base64')}\n`, { mode: 0o600 })
    t.match(await at('key', 'rotate', '--new-key-file', own), { code: 0, stdout: /put that key in place/ })
    t.equal(readFileSync(file, 'utf8'), second)
    await rig.end('SIGTERM')
    const refused = await at('serve')
    t.match(refused, { code: 78, stderr: /the master key is not the one these records were sealed with/ })
    // As systemd passes it.
    const credentials = join(apart, 'credentials')
    mkdirSync(credentials)
    cpSync(own, join(credentials, 'relevo-master-key'))
    process.env.CREDENTIALS_DIRECTORY = credentials
    t.teardown(() => {
      delete process.env.CREDENTIALS_DIRECTORY
    })
    await rig.start()
    t.match(await at('key', 'rotate'), { code: 65, stderr: /credential of systemd.*--new-key-file/s })
    await submit(rig, 'again@good.test')
    t.ok(await rig.until(() => rig.mx.taken.length > 1))
  },
)
