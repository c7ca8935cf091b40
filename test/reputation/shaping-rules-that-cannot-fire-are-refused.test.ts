import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadWarmUpPlan, Shaping } from '#reputation'

const shipped = join(import.meta.dirname, '../../config/shaping.toml')

void t.test('the shipped rules load, and know whose mailboxes stand behind a host', async (t) => {
  const shaping = Shaping.load(shipped)
  t.equal(shaping.mailboxProviderOf('corp.example', ['aspmx.l.google.com', 'alt1.aspmx.l.google.com']), 'google')
  t.equal(shaping.mailboxProviderOf('corp.example', ['corp-example.mail.protection.outlook.com']), 'microsoft365')
  t.equal(shaping.mailboxProviderOf('outlook.com', ['outlook-com.olc.protection.outlook.com']), 'microsoft')
  t.equal(shaping.mailboxProviderOf('gmail.com', []), 'google')
  t.equal(shaping.mailboxProviderOf('corp.example', ['mx.corp.example']), 'other')
  t.equal(shaping.mailboxProviderOf('corp.example', ['evilgoogle.com']), 'other', 'a suffix begins at a dot')
  t.equal(shaping.ruleOf('apple')?.messagesPerConnection, 5)
  t.equal(shaping.ruleOf('other'), undefined)
})

const rule = (text: string) =>
  `[[provider]]\nname = "one"\nmx = [".one.example"]\nconnections = 1\nmessages_per_connection = 1\nexample_mx = ["mx.one.example"]\n${text}`
const BAD: readonly [string, string, RegExp][] = [
  ['nothing', '', /has no \[\[provider\]\]/],
  ['no TOML', 'a = = 1', /cannot be read/],
  [
    'an example that does not match',
    rule('').replace('"mx.one.example"', '"mx.two.example"'),
    /"one" does not match its own example mx\.two\.example/,
  ],
  ['no example', rule('').replace(/example_mx.*/, ''), /"one" has no example_mx/],
  [
    'a rule that an earlier one shadows',
    rule(
      '[[provider]]\nname = "two"\nmx = [".mx.one.example"]\nconnections = 1\nmessages_per_connection = 1\nexample_mx = ["a.mx.one.example"]',
    ),
    /"two" is shadowed by "one" for a\.mx\.one\.example/,
  ],
  ['a name twice', rule(rule('')), /names the provider "one" twice/],
  ['an unknown key', rule('conections = 3'), /unknown key conections/],
  ['a number that is none', rule('').replace('connections = 1', 'connections = 0'), /connections is a whole number/],
  ['a rate without a known unit', rule('rate = 5\nrate_per = "day"'), /rate_per is "second", "minute" or "hour"/],
]

for (const [name, text, expected] of BAD)
  void t.test(`refused with its reason: ${name}`, async (t) => {
    const file = join(t.testdir({}), 'shaping.toml')
    writeFileSync(file, text)
    t.throws(() => Shaping.load(file), { message: expected, remedy: /./, exitCode: 78 })
  })

void t.test('warm-up volumes: the shipped plan loads; falling volumes and odd shares are refused', async (t) => {
  const plan = loadWarmUpPlan(join(import.meta.dirname, '../../config/warmup.toml'))
  t.equal(plan.daily[0], 200)
  const file = join(t.testdir({}), 'warmup.toml')
  for (const [text, expected] of [
    ['daily = []', /needs daily/],
    ['daily = [10, 5]', /day 2 is less than day 1/],
    ['daily = [1]\nadvance_share = 2', /advance_share/],
    ['daily = [1]\n[mailbox_provider_share]\ngoogle = 3', /share for google/],
  ] as const) {
    writeFileSync(file, text)
    t.throws(() => loadWarmUpPlan(file), { message: expected })
  }
})
