import { openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import t from 'tap'
import { checkStore, type Finding } from '#store'
import { directory, endlessWriter, fill, numbered, open } from './store-rig.ts'

const PAGE = 16_384

const wrong = (findings: readonly Finding[]): readonly string[] =>
  findings.filter(({ ok }) => !ok).map(({ check }) => check)

void t.test('a sound store: every check says so, those of the rooms too', async (t) => {
  const path = directory(t)
  await fill(path, numbered(12))
  const findings = checkStore(path, [
    function* ({ db, directory }) {
      const { n } = db.prepare('SELECT count(*) AS n FROM settings').get() as { n: number }
      yield { check: 'bodies', ok: true, detail: `${n} in ${directory}` }
    },
  ])
  t.match(findings, [
    { check: 'integrity', ok: true },
    { check: 'references', ok: true },
    { check: 'commits', ok: true, detail: '12 commits' },
    { check: 'schema', ok: true, detail: /^records \d+$/ },
    { check: 'bodies', ok: true, detail: `12 in ${path}` },
  ])
  t.same(wrong(checkStore(directory(t))), ['database'], 'nothing there is not sound')
})

void t.test(
  'a page of the file that holds something else, a row that refers to nothing, a room that complains',
  async (t) => {
    const path = directory(t)
    const family =
      'CREATE TABLE parents (id INTEGER PRIMARY KEY); CREATE TABLE children (parent INTEGER REFERENCES parents (id))'
    const module = { name: 'family', url: new URL('./remembering-module.ts', import.meta.url) }
    await (await open(path, { modules: [{ ...module, migrations: [family] }] }))[Symbol.asyncDispose]()
    const db = new Sqlite(join(path, 'relevo.db'))
    db.exec('PRAGMA foreign_keys = OFF; INSERT INTO children VALUES (7)')
    db.close()
    const complains = [{ check: 'bodies', ok: false, detail: 'one is damaged', remedy: 'Hold it.' }]
    t.same(wrong(checkStore(path, [() => complains])), ['references', 'bodies'])

    const damaged = directory(t)
    await fill(damaged, numbered(40), 'x'.repeat(3000))
    const file = join(damaged, 'relevo.db')
    const pages = readFileSync(file).length / PAGE
    const fd = openSync(file, 'r+')
    writeSync(fd, Buffer.alloc(PAGE, 0x5a), 0, PAGE, (pages - 2) * PAGE)
    const findings = checkStore(damaged)
    t.ok(wrong(findings).length > 0)
    t.ok(findings.every(({ ok, remedy }) => ok || remedy !== undefined))
  },
)

void t.test('beside a daemon that writes it finds nothing wrong, however often it looks', async (t) => {
  const path = directory(t)
  let looked = 0
  const { ended } = endlessWriter(path, 'w', (count, child) => {
    if (count < 50 || looked > 30) return
    looked += 1
    t.same(wrong(checkStore(path)), [])
    if (looked > 30) child.kill('SIGKILL')
  })
  await ended
  t.ok(looked > 30)
})
