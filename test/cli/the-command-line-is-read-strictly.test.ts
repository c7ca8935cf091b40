import t from 'tap'
import { isGroup } from '../../src/cli/verb.ts'
import { VERBS } from '../../src/cli/verbs.ts'
import { relevo } from './at-the-command-line.ts'

void t.test('--help of everything there is', async (t) => {
  const all = await relevo(['--help'])
  t.equal(all.code, 0)
  for (const { name, summary, load } of VERBS) {
    t.match(all.stdout, new RegExp(`^ {2}${name} +${summary}$`, 'm'))
    const verb = await load()
    const seen = await relevo([name, '--help'])
    t.equal(seen.code, 0)
    t.ok(seen.stdout.startsWith(verb.summary), `${name} --help`)
    for (const [inner, command] of isGroup(verb) ? Object.entries(verb.commands) : []) {
      const told = await relevo([name, inner, '--help'])
      t.equal(told.code, 0)
      t.match(told.stdout, `usage: relevo ${name} ${inner}`)
      t.ok(told.stdout.startsWith(command.summary))
      t.notMatch(command.summary, /\.$/, 'no full stop in a list')
    }
  }
})

for (const [argv, told] of [
  [['quue'], 'relevo: there is no command relevo quue. Did you mean relevo queue?\n'],
  [['__proto__'], 'relevo: there is no command relevo __proto__. See: relevo --help\n'],
  [['queue', 'lst'], 'relevo: there is no command relevo queue lst. Did you mean relevo queue list?\n'],
  [['queue', 'constructor'], 'relevo: there is no command relevo queue constructor. See: relevo queue --help\n'],
  [['queue', 'list', '--statu', 'held'], "relevo: Unknown option '--statu'. See: relevo queue list --help\n"],
  [['queue', 'list', '--limit'], "relevo: Option '--limit <value>' argument missing. See: relevo queue list --help\n"],
  [
    ['queue', 'list', '--limit', '0', '--socket', '/nowhere'],
    'relevo: --limit is "0"; allowed is a whole number from 1 to 9007199254740991. See the command with --help\n',
  ],
  [['queue', 'show'], 'relevo: ID... is missing. See: relevo queue show --help\n'],
  [['why', 'a', 'b'], 'relevo: "b" is one operand too many. See: relevo why --help\n'],
  [['queue', 'hold'], 'relevo: say which: ids, a filter, or --all. See: relevo queue hold --help\n'],
  [
    ['queue', 'hold', '--all', '--tag', 'x'],
    'relevo: say which: ids, a filter, or --all. See: relevo queue hold --help\n',
  ],
] as const)
  void t.test(argv.join(' '), async (t) => {
    const seen = await relevo(argv)
    t.strictSame(seen, { code: 64, stdout: '', stderr: told })
  })

void t.test('a group without a command shows what there is', async (t) => {
  const seen = await relevo(['queue'])
  t.equal(seen.code, 64)
  t.match(seen.stderr, 'usage: relevo queue COMMAND')
})

void t.test('with --json an error is an object on standard output, and the line stays on standard error', async (t) => {
  const seen = await relevo(['config', 'check', '--set', 'queue.leas=1', '--json'])
  t.equal(seen.code, 78)
  t.strictSame(
    seen.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [
      {
        field: 'queue.leas',
        where: '--set queue.leas',
        message: 'queue.leas is not a key of the configuration',
        remedy: 'Did you mean queue.lease?',
      },
      {
        error: {
          code: 'bad-config',
          message: '--set queue.leas: queue.leas is not a key of the configuration',
          field: 'queue.leas',
          remedy: 'Did you mean queue.lease?',
        },
      },
    ],
  )
  t.equal(
    seen.stderr,
    'relevo: --set queue.leas: queue.leas is not a key of the configuration. Did you mean queue.lease?\n',
  )
})

void t.test('several errors are a line each', async (t) => {
  const seen = await relevo(['config', 'check', '--set', 'a.b=1', '--set', 'mode=x'])
  t.equal(seen.stderr.split('\n').length, 5)
  t.match(seen.stderr, /^relevo: 2 errors in the configuration\n {2}--set a\.b: .*\n {2}--set mode: .*\nCorrect them/)
})

void t.test('version, in three ways', async (t) => {
  t.match(await relevo(['version']), { code: 0, stdout: /^relevo \d+\.\d+\.\d+\n$/ })
  t.match(await relevo(['--version']), { code: 0, stdout: /^relevo \d/ })
  t.match(JSON.parse((await relevo(['version', '--json'])).stdout), { version: /^\d/ })
})

void t.test('config show tells the origin of what was set', async (t) => {
  const seen = await relevo(['config', 'show', '--changed'], { env: { RELEVO__log__level: 'debug' } })
  t.equal(seen.stdout, 'log.level\t"debug"\tRELEVO__log__level\n')
  const all = await relevo(['config', 'show', '--json'])
  t.ok(
    all.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .some((row) => row.key === 'queue.lease' && row.value === 7200),
  )
})

void t.test('config explain, schema and sample', async (t) => {
  t.match((await relevo(['config', 'explain', 'queue.lease'])).stdout, /^allowed\ta number from 30 to \d+ seconds$/m)
  t.match(JSON.parse((await relevo(['config', 'explain', 'log.level', '--json'])).stdout), {
    key: 'log.level',
    default: 'info',
  })
  t.match((await relevo(['config', 'explain', 'log'])).stdout, /^keys\tlog\.level$/m)
  t.equal((await relevo(['config', 'explain', 'log.levle'])).code, 64)
  t.match(JSON.parse((await relevo(['config', 'schema'])).stdout), { title: 'Relevo configuration' })
  t.match((await relevo(['config', 'sample'])).stdout, /^mode = "sandbox"$/m)
})
