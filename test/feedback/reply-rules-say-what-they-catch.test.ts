import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import t, { type Test } from 'tap'
import { Fault } from '#base'
import { classifyReplyLine, loadReplyRules } from '#feedback'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)

const GOOD = {
  name: '"dead"',
  class: '"user-unknown"',
  hard: 'true',
  action: '"suppress"',
  phrases: '["nobody of that name"]',
  samples: '["550 nobody of that name"]',
}

function rule(changes: Record<string, string> = {}): string {
  return `[[rule]]\n${Object.entries({ ...GOOD, ...changes })
    .map(([key, value]) => `${key} = ${value}`)
    .join('\n')}\n`
}

function load(t: Test, text: string) {
  const file = join(t.testdir(), 'replies.toml')
  writeFileSync(file, text)
  return loadReplyRules(file)
}

await t.test('a rule file that could not do what it says is refused with the rule named', async (t) => {
  const wrong: readonly [string, string, RegExp][] = [
    ['not TOML', '[[rule', /cannot be read/],
    ['no rule', 'name = 1', /has no \[\[rule\]\]/],
    ['no name', rule({ name: '""' }), /rule 1 has no name/],
    ['two of one name', rule() + rule({ phrases: '["x y"]', samples: '["x y"]' }), /two rules named "dead"/],
    ['no samples', rule({ samples: '[]' }), /"dead" has no samples/],
    ['a dead rule', rule({ samples: '["550 all is well"]' }), /"dead" does not match its own sample "550 all is well"/],
    ['a shadowed rule', rule() + rule({ name: '"late"' }), /"late" is shadowed by "dead"/],
    ['an unknown key', rule({ phrase: '["x"]' }), /"dead" has the unknown key phrase/],
    ['suppress without hard', rule({ hard: 'false' }), /"dead" suppresses without being hard/],
    ['suppress when unknown', rule({ hard: '"unknown"' }), /"dead" suppresses without being hard/],
    ['hard that is no answer', rule({ hard: '"perhaps"' }), /"dead": hard is true, false or "unknown"/],
    ['an action nobody takes', rule({ action: '"shout"' }), /"dead": action is one of/],
    ['a class in capitals', rule({ class: '"User"' }), /"dead" has no class/],
    ['capitals in a phrase', rule({ phrases: '["Nobody"]' }), /"Nobody" must be in small letters/],
    ['a list that is none', rule({ phrases: '"x"' }), /"dead": phrases is a list of texts/],
    ['repetition of repetition', rule({ patterns: '["(a+)+$"]' }), /could take very long/],
    ['repetitions that multiply', rule({ patterns: '["a.{0,99}b.{0,99}c.{0,99}d"]' }), /its repetitions multiply/],
    ['open-ended repetition', rule({ patterns: '["user.*unknown"]' }), /could take very long/],
    ['look-ahead', rule({ patterns: '["(?=x)y"]' }), /could take very long/],
    ['a broken pattern', rule({ patterns: '["(x"]' }), /"dead": Invalid regular expression/],
  ]
  for (const [what, text, says] of wrong)
    try {
      load(t, text)
      t.fail(`${what} was accepted`)
    } catch (error) {
      t.ok(error instanceof Fault && error.code === 'bad-rule-file', what)
      t.match((error as Error).message, says, what)
    }
  t.throws(() => loadReplyRules('/nowhere/replies.toml'), { code: 'bad-rule-file' })
})

await t.test('codes, enhanced codes and stages are conditions beside the phrases', async (t) => {
  const own = load(
    t,
    rule({ codes: '["5xx"]' }) +
      rule({
        name: '"wide"',
        class: '"policy"',
        hard: 'false',
        action: '"bounce"',
        enhanced: '["5.7.*"]',
        phrases: '[]',
        samples: '["550 5.7.9 x"]',
      }),
  )
  t.equal(own.classify({ text: '550 nobody of that name' }).class, 'user-unknown')
  t.equal(own.classify({ text: '450 nobody of that name' }).class, 'unclassified')
  t.equal(own.classify({ text: 'nobody of that name', code: 554 }).class, 'user-unknown')
  t.equal(own.classify({ text: 'other', enhanced: '5.7.1' }).class, 'policy')
  t.equal(own.classify({ text: 'other', enhanced: '5.70.1' }).class, 'unclassified')
})

const REPLIES: readonly [string, string, boolean | null, string][] = [
  ['550 5.1.1 <ana@example.org>: unknown user here', 'user-unknown', true, 'suppress'],
  ['550 Benutzer unbekannt', 'user-unknown', true, 'suppress'],
  ['550 5.1.1 Empfänger unbekannt: ana@example.org', 'user-unknown', true, 'suppress'],
  ['550 Utilisateur inconnu dans ce domaine', 'user-unknown', true, 'suppress'],
  ['550 El usuario no existe en este servidor', 'user-unknown', true, 'suppress'],
  ['550 usuário desconhecido', 'user-unknown', true, 'suppress'],
  ['550 Utente sconosciuto', 'user-unknown', true, 'suppress'],
  ['550 onbekende gebruiker ana', 'user-unknown', true, 'suppress'],
  ['550 Пользователь не найден', 'user-unknown', true, 'suppress'],
  ['550 用户不存在', 'user-unknown', true, 'suppress'],
  ['550 5.1.1 no thanks', 'user-unknown', true, 'suppress'],
  ['550 that mailbox does not exist on this machine', 'user-unknown', true, 'suppress'],
  ['552 5.2.2 this mailbox is full', 'mailbox-full', false, 'retry'],
  ['452 4.2.2 quota exceeded for ana', 'mailbox-full', false, 'retry'],
  ['552 Das Postfach ist voll', 'mailbox-full', false, 'retry'],
  ['552 La boîte pleine ne prend plus rien', 'mailbox-full', false, 'retry'],
  ['552 buzón lleno', 'mailbox-full', false, 'retry'],
  ['552 Casella piena, riprovare', 'mailbox-full', false, 'retry'],
  ['450 4.2.0 greylisted for five minutes', 'greylist', false, 'retry'],
  ['451 Graylisted, come again', 'greylist', false, 'retry'],
  ['421 4.7.0 too many connections from you', 'rate-limit', false, 'slow-down'],
  ['421 throttled', 'rate-limit', false, 'slow-down'],
  [
    '550 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example.net',
    'ip-blocked',
    false,
    'pause-provider',
  ],
  ['554 192.0.2.1 is on our blacklist', 'ip-blocked', false, 'pause-provider'],
  ['554 5.7.1 we do not relay', 'relay-denied', false, 'bounce'],
  ['550 5.7.1 Relaying denied for example.org', 'relay-denied', false, 'bounce'],
  ['550 5.7.26 DMARC of example.net says reject', 'auth-fail', false, 'bounce'],
  ['550 SPF fail for example.net', 'auth-fail', false, 'bounce'],
  ['554 the content was classified as spam by our machine', 'spam-content', false, 'bounce'],
  ['554 5.7.1 a virus was found', 'virus', false, 'bounce'],
  ['552 5.3.4 message too large for us', 'too-large', false, 'bounce'],
  ['550 5.1.8 Sender address rejected', 'sender-rejected', false, 'bounce'],
  ['550 5.2.1 the account is disabled since March', 'mailbox-disabled', null, 'bounce'],
  ['556 5.1.10 null MX', 'domain-no-mail', true, 'suppress'],
  ['550 5.1.2 host unknown', 'domain-unknown', true, 'suppress'],
  ['551 5.1.6 has moved to ana@example.com', 'moved', true, 'suppress'],
  ['503 bad sequence of commands', 'protocol', false, 'bounce'],
  ['451 4.3.0 internal error, sorry', 'system', false, 'retry'],
  ['550 5.7.25 no PTR record', 'ptr-required', false, 'pause-provider'],
  ['554 5.6.0 the message has a malformed date', 'rfc-compliance', false, 'bounce'],
  ['530 5.7.0 authentication required', 'smtp-auth', false, 'bounce'],
  ['connect to mx.example.org: connection refused', 'network', false, 'retry'],
  ['550 gone fishing', 'unclassified', null, 'bounce'],
  ['450 gone fishing', 'unclassified', false, 'retry'],
  ['the queue lifetime is over: message expired', 'expired', false, 'bounce'],
  ['550 5.7.1 The local policy says no', 'policy', false, 'bounce'],
]

await t.test('the shipped rules say what replies mean', async (t) => {
  for (const [text, replyClass, hard, action] of REPLIES)
    t.strictSame(classifyReplyLine(text, rules), { text, class: replyClass, hard, action }, text)
})

await t.test('what nothing speaks for follows its code and never kills an address', async (t) => {
  t.strictSame(rules.classify({ text: 'see you', code: 599 }), { class: 'unclassified', hard: null, action: 'bounce' })
  t.strictSame(rules.classify({ text: 'see you', code: 499 }), { class: 'unclassified', hard: false, action: 'retry' })
  t.strictSame(rules.classify({ text: '' }), { class: 'unclassified', hard: null, action: 'bounce' })
  t.equal(rules.classify({ text: 'host 10.5.1.1 said no' }).hard, null, 'a piece of an address is no enhanced code')
})

await t.test('a reply of any length costs next to nothing', async (t) => {
  const evil = [
    'mailbox '.repeat(300_000),
    'a'.repeat(3_000_000),
    'ip '.repeat(900_000),
    '5.1.1.'.repeat(500_000),
    ' \t'.repeat(1_000_000),
  ]
  for (const text of evil) {
    rules.classify({ text })
    const startedMs = performance.now()
    rules.classify({ text })
    t.ok(performance.now() - startedMs < 100, text.slice(0, 8))
  }
  const far = `${'x'.repeat(5000)} user unknown`
  t.equal(rules.classify({ text: far }).class, 'unclassified', 'only the first 2 KiB are read')
})

await t.test('the documented classes are those of the shipped rules', async (t) => {
  const file = readFileSync(new URL('../../config/replies.toml', import.meta.url), 'utf8')
  const shipped = new Map<string, { hard: Set<string>; actions: Set<string> }>()
  for (const one of parse(file).rule as unknown as { class: string; hard: boolean | string; action: string }[]) {
    const { hard, actions } = shipped.get(one.class) ?? { hard: new Set<string>(), actions: new Set<string>() }
    hard.add(one.hard === true ? 'yes' : one.hard === false ? 'no' : 'unknown')
    shipped.set(one.class, { hard, actions: actions.add(one.action) })
  }
  const page = readFileSync(new URL('../../docs/reply-classes.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \|[^|]+\| ([^|]+) \| ([^|]+) \|$/gm)]
    .map(([, name = '', hard = '', actions = '']) => ({ name, hard, actions: actions.split(', ').sort().join() }))
    .filter(({ name }) => name !== 'unclassified')
  t.strictSame(
    rows.sort((a, b) => a.name.localeCompare(b.name)),
    [...shipped]
      .map(([name, { hard, actions }]) => ({
        name,
        hard: [...hard].sort().join(', '),
        actions: [...actions].sort().join(),
      }))
      .sort((a, b) => a.name.localeCompare(b.name)),
  )
})
