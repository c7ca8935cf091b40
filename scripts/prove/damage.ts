// Damages a store in one way after the other and starts on it: bytes, pages and rows of the database, its log, the bodies, the
// counter of commits; files cut, emptied, removed, exchanged, of another owner, of a newer version. No damaged byte may be
// sent, no acknowledged mail may be gone without a word, and no start may begin empty.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { copySpecimen, drawKind, judge, makeSpecimen } from '../../test/queue/damaged-store.ts'
import { optionsOf } from './crash/options.ts'

const NOBODY = 65_534
const options = optionsOf('damage.ts', 'a store damaged 500 times; nothing damaged is sent, nothing lost unnoticed', {
  mutations: [500, 'how often'],
  messages: [240, 'messages in the store'],
  owners: [4, 'of them: files of another owner (needs root)'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}
const room = mkdtempSync(join(tmpdir(), 'relevo-damage-'))
using _removed = { [Symbol.dispose]: () => rmSync(room, { recursive: true, force: true }) }
const specimen = await makeSpecimen(room, options.messages)
const ends: Record<string, Record<string, number>> = {}
const wrong: string[] = []
const directory = join(room, 'damaged')
let done = 0
while (done < options.mutations && !options.interrupted()) {
  copySpecimen(options.random() < 0.5 ? specimen.closed : specimen.cut, directory)
  const [kind, mutate] = drawKind(options.random)
  const what = mutate(directory, options.random)
  if (what === null) continue
  const verdict = await judge(directory, specimen)
  done += 1
  ends[kind] ??= {}
  ends[kind][verdict.end] = (ends[kind][verdict.end] ?? 0) + 1
  for (const one of verdict.wrong) {
    wrong.push(`${what}: ${one}`)
    say(`WRONG ${what}: ${one}`)
  }
  if (done % 50 === 0) say(`${done} of ${options.mutations}, ${wrong.length} wrong`)
}
let owners = 0
if (process.getuid?.() === 0)
  for (const name of ['relevo.db', 'relevo.commits', 'relevo.lock', 'segments'].slice(0, options.owners)) {
    copySpecimen(specimen.closed, directory)
    const said = startedByNobody(name)
    owners += 1
    if (!/^refused: .*\nremedy: (?!none)/.test(said)) wrong.push(`${name} of another owner: ${said}`)
    say(`${name} of another owner: ${said}`)
  }
say(JSON.stringify(ends, null, 2))
console.log(JSON.stringify({ seed: options.seed, mutations: done, owners, ends, wrong }))
process.exitCode = wrong.length === 0 ? 0 : 1

/** Starts as a user to whom all but one of the files belongs. */
function startedByNobody(name: string): string {
  chownSync(room, NOBODY, NOBODY)
  chownSync(directory, NOBODY, NOBODY)
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' }))
    if (!file.startsWith(name)) chownSync(join(directory, file), NOBODY, NOBODY)
  chmodSync(join(directory, name), name === 'segments' ? 0o700 : 0o600)
  const script = join(import.meta.dirname, '../../test/queue/start-on.ts')
  const { stdout, stderr } = spawnSync(process.execPath, [script, directory], {
    ...{ uid: NOBODY, gid: NOBODY, encoding: 'utf8' },
  })
  return (stdout || stderr).trim().slice(0, 500)
}
