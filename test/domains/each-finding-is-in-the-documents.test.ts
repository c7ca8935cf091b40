import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CASES } from './faulty-zones.ts'

const ROOT = join(import.meta.dirname, '../..')
const CHECKS = join(ROOT, 'src/domains/check')
const source = readdirSync(CHECKS)
  .map((name) => readFileSync(join(CHECKS, name), 'utf8'))
  .join('\n')
/** Codes in the first columns of the tables. */
const documented = new Set(
  readFileSync(join(ROOT, 'docs/dns.md'), 'utf8')
    .split('\n')
    .flatMap((line) =>
      [...(/^\|([^|]*)\|/.exec(line)?.[1] ?? '').matchAll(/`([a-z0-9]+(?:-[a-z0-9]+)*)`/g)].map(([, code]) => code!),
    ),
)

void t.test('every finding that a zone can give stands in docs/dns.md', (t) => {
  const given = [...source.matchAll(/finding\(\s*'(?:error|warning|note)',\s*'([a-z0-9-]+)'/g)].map(([, code]) => code!)
  t.ok(given.length > 40, `${given.length} in the source`)
  const expected = CASES.flatMap(({ expect }) => expect.map((one) => one.split(' ')[1]!))
  for (const code of new Set([...given, ...expected])) t.ok(documented.has(code), code)
  t.end()
})

void t.test('and nothing stands there that none can give', (t) => {
  for (const code of documented)
    t.ok(source.includes(`'${code}'`) || source.includes(`'${code.replace(/-(?:two|unreadable)$/, '')}'`), code)
  t.end()
})
