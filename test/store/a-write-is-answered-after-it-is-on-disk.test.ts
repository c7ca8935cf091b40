import { spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base'
import { checkStore, loadMasterKey, openDatabase, Records, Vault } from '#store'

function directory(t: { teardown(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'relevo-store-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const open = (path: string, modules: Parameters<typeof openDatabase>[0]['modules'] = []) =>
  openDatabase({ directory: path, modules })
const setting = (records: Records, name: string, value = 'v') =>
  records.query.insertInto('settings').values({ name, value, updated_ms: 1 })

void t.test('writes share commits, and each is there when it is answered', async (t) => {
  const path = directory(t)
  {
    await using database = await open(path)
    const records = new Records(database)
    await Promise.all(Array.from({ length: 500 }, (_, i) => records.write(setting(records, `n${i}`))))
    const rows = await records.read(
      records.query.selectFrom('settings').select((eb) => eb.fn.countAll<number>().as('n')),
    )
    t.equal(rows[0]?.n, 500)
  }
  const commits = checkStore(path).find((finding) => finding.check === 'commits')!
  t.ok(commits.ok)
  t.ok(Number.parseInt(commits.detail, 10) < 100, `500 writes in ${commits.detail}`)
})

void t.test('an operation that throws is undone alone; the others of its commit stand', async (t) => {
  const path = directory(t)
  await using database = await open(path)
  const records = new Records(database)
  const results = await Promise.allSettled([
    records.write(setting(records, 'a')),
    records.write(setting(records, 'b'), setting(records, 'b')),
    records.write(setting(records, 'c')),
  ])
  t.same(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  const names = await records.read(records.query.selectFrom('settings').select('name').orderBy('name'))
  t.same(names, [{ name: 'a' }, { name: 'c' }], 'of the one that failed nothing is kept')
})

void t.test('kill -9 while writing: whatever was answered is there, in every one of 4 kills', async (t) => {
  const path = directory(t)
  const script = join(import.meta.dirname, 'endless-writer.ts')
  const acked = new Set<string>()
  for (let kill = 0; kill < 4; kill++) {
    const child = spawn(process.execPath, [script, path, `k${kill}`], { stdio: ['ignore', 'pipe', 'inherit'] })
    let rest = ''
    child.stdout.on('data', (data: Buffer) => {
      const lines = (rest + data.toString()).split('\n')
      rest = lines.pop()!
      for (const line of lines) acked.add(line)
      if (acked.size > 200 * (kill + 1) + kill * 37) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.once('close', resolve))
  }
  await using database = await open(path)
  const records = new Records(database)
  const there = new Set(
    (await records.read(records.query.selectFrom('settings').select('name'))).map((row) => row.name),
  )
  const lost = [...acked].filter((name) => !there.has(name))
  t.ok(acked.size >= 800, `${acked.size} answered`)
  t.same(lost, [])
})

void t.test('a second instance is refused at once, and names the first', async (t) => {
  const path = directory(t)
  await using _database = await open(path)
  await t.rejects(open(path), { code: 'second-instance', exitCode: 75, message: new RegExp(`process ${process.pid}`) })
})

void t.test('what is damaged or incomplete is never opened, and never started empty over', async (t) => {
  const good = directory(t)
  {
    await using database = await open(good)
    const records = new Records(database)
    for (let i = 0; i < 50; i++) await records.write(setting(records, `n${i}`, 'x'.repeat(2000)))
  }
  const copy = (): string => {
    const path = directory(t)
    for (const name of readdirSync(good)) copyFileSync(join(good, name), join(path, name))
    return path
  }
  const cases: readonly [string, string, (path: string) => void][] = [
    ['a zero-length database', 'damaged-store', (path) => truncateSync(join(path, 'relevo.db'), 0)],
    ['a missing database', 'damaged-store', (path) => rmSync(join(path, 'relevo.db'))],
    ['a database cut short', 'damaged-store', (path) => truncateSync(join(path, 'relevo.db'), 50_000)],
    ['something else', 'damaged-store', (path) => writeFileSync(join(path, 'relevo.db'), 'x'.repeat(40_000))],
    ['a missing counter', 'damaged-store', (path) => rmSync(join(path, 'relevo.commits'))],
    ['a zeroed counter', 'damaged-store', (path) => writeFileSync(join(path, 'relevo.commits'), Buffer.alloc(8192))],
  ]
  for (const [name, code, damage] of cases) {
    const path = copy()
    damage(path)
    await t.rejects(open(path), { code, remedy: /./, field: 'data_dir' }, name)
    t.notOk(existsSync(join(path, 'relevo.db')) && readFileSync(join(path, 'relevo.db')).length === 16_384 * 2, name)
  }
})

void t.test('an older database under a newer counter lags: refused, with the gap named', async (t) => {
  const path = directory(t)
  const aside = directory(t)
  const write = async (from: number, n: number) => {
    await using database = await open(path)
    const records = new Records(database)
    for (let i = from; i < from + n; i++) await records.write(setting(records, `n${i}`))
  }
  await write(0, 5)
  copyFileSync(join(path, 'relevo.db'), join(aside, 'relevo.db'))
  await write(5, 7)
  copyFileSync(join(aside, 'relevo.db'), join(path, 'relevo.db'))
  await t.rejects(open(path), { code: 'store-lags', message: /lacks 7 commits/ })
  t.equal(checkStore(path).find((finding) => finding.check === 'commits')?.ok, false)
})

void t.test('a byte flipped in the write-ahead log: the commits behind it are missed, not ignored', async (t) => {
  const path = directory(t)
  const script = join(import.meta.dirname, 'endless-writer.ts')
  const child = spawn(process.execPath, [script, path, 'w'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let lines = 0
  child.stdout.on('data', (data: Buffer) => {
    lines += data.toString().split('\n').length - 1
    if (lines > 100) child.kill('SIGKILL')
  })
  await new Promise((resolve) => child.once('close', resolve))
  const wal = readFileSync(join(path, 'relevo.db-wal'))
  const at = Math.floor(wal.length / 2)
  wal[at] = wal[at]! ^ 0xff
  writeFileSync(join(path, 'relevo.db-wal'), wal)
  await t.rejects(open(path), { code: 'store-lags' })
})

void t.test('tables of a newer Relevo are refused', async (t) => {
  const path = directory(t)
  const module = { name: 'later', url: new URL('./empty-module.ts', import.meta.url) }
  {
    await using _database = await open(path, [
      { ...module, migrations: ['CREATE TABLE one (a)', 'CREATE TABLE two (a)'] },
    ])
  }
  await t.rejects(open(path, [{ ...module, migrations: ['CREATE TABLE one (a)'] }]), {
    code: 'newer-schema',
    exitCode: 78,
  })
})

void t.test('secrets open only with their master key, their purpose, unaltered', async (t) => {
  const path = directory(t)
  const key = (directory: string) => loadMasterKey({ file: '', credentialFile: null, directory })
  const masterKey = key(path)
  await using database = await open(path)
  const records = new Records(database)
  const vault = await Vault.open(records, masterKey, systemClock)
  const sealed = vault.seal('s3cret', 'test')
  t.notMatch(sealed, /s3cret/)
  t.equal((await Vault.open(records, key(path), systemClock)).open(sealed, 'test').toString(), 's3cret')
  t.throws(() => vault.open(sealed, 'other'), { code: 'unreadable-secret' })
  t.throws(() => vault.open(`${sealed.slice(0, -4)}AAA=`, 'test'), { code: 'unreadable-secret' })
  await t.rejects(Vault.open(records, key(directory(t)), systemClock), { code: 'wrong-master-key', exitCode: 78 })
  rmSync(join(path, 'master.key'))
  t.throws(() => key(path), { code: 'bad-master-key' }, 'a lost key is not replaced by a new one')
})
