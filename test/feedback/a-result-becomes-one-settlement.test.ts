import t from 'tap'
import { type ConcludeContext, nextDueMs, type RecipientResult } from '#delivery'
import { loadReplyRules, makeConcluder, makeSenderNotice, type Notice, readReport } from '#feedback'
import type { Claim, ClaimedRecipient, MessageHead, NewMessage, Settlement } from '#queue'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)
const NOW_MS = Date.UTC(2026, 2, 4)
const HOUR_MS = 3_600_000
const CONTENT = Buffer.from('From: <shop@sending.example>\r\nMessage-ID: <m@sending.example>\r\n\r\nThank you.\r\n')

const HEAD: MessageHead = {
  id: '01k0message',
  acceptedMs: NOW_MS - HOUR_MS,
  expiresMs: NOW_MS + 24 * HOUR_MS,
  reversePath: 'shop@sending.example',
  sendingDomain: 'sending.example',
  headerFrom: 'shop@sending.example',
  messageIdHeader: '<m@sending.example>',
  subject: 'Your order',
  size: CONTENT.length,
  priority: 'normal',
  sandbox: false,
  smtpUtf8: false,
  tls: null,
  envelopeId: null,
  ret: null,
  submitter: 'smtp:shop',
  tags: [],
  category: null,
  campaign: null,
  route: null,
}
const RECIPIENT: ClaimedRecipient = {
  key: 7,
  fence: 3,
  address: 'Ana@example.org',
  domain: 'example.org',
  originalRecipient: null,
  notify: null,
  attempts: 0,
  uncertain: 0,
  maybeDuplicate: false,
}
const CONTEXT: ConcludeContext = {
  trace: {
    startedMs: NOW_MS - 900,
    endedMs: NOW_MS,
    source: '192.0.2.1',
    remoteHost: 'mx.example.org',
    remoteAddress: '192.0.2.9',
    tls: '',
    transcript: 'the dialogue',
  },
  provider: { id: 'own', name: 'own', kind: 'own' },
  nowMs: NOW_MS,
  counters: [{ name: 'warm-up', period: '2026-03-04' }],
}

type Setting = {
  readonly message?: Partial<MessageHead>
  readonly recipient?: Partial<ClaimedRecipient>
  readonly context?: Partial<ConcludeContext>
  readonly policy?: 'failure' | 'requested' | 'never'
  readonly maxAttempts?: number
  readonly delayNotice?: number
  readonly waitMs?: number
  /** How often the relay has deferred it before. */
  readonly relayDeferrals?: number
}

function rig({
  message,
  recipient,
  context,
  policy = 'failure',
  maxAttempts = 0,
  delayNotice = 14_400,
  waitMs = 300_000,
  relayDeferrals = 0,
}: Setting) {
  const whom = { ...RECIPIENT, ...recipient }
  const claim: Claim = { message: { ...HEAD, ...message }, recipients: [whom] }
  const noticeOf = makeSenderNotice({
    policy,
    hostname: 'mta.sending.example',
    lifetimeMs: HOUR_MS,
    content: async () => CONTENT,
  })
  const told: Notice[] = []
  const concluder = makeConcluder({
    config: {
      ...{ max_attempts: maxAttempts, uncertain_attempts: 3, delay_notice: delayNotice, lifetime: 25 * 3600 },
      relay_retry_after: [300, 900, 1800],
    },
    rules,
    nextDueMs: (question) => NOW_MS + waitMs + (question.infrastructure ? 1 : 0),
    deferralsBy: async () => relayDeferrals,
    dsnFor: async (notice) => {
      told.push(notice)
      return noticeOf(notice)
    },
  })
  const at = { ...CONTEXT, ...context }
  return {
    told,
    concluder,
    conclude: async (result: RecipientResult): Promise<Settlement> => concluder.conclude(claim, whom, result, at),
    expire: (): Promise<Settlement> => concluder.expire(claim, whom, at),
  }
}

function refused(code: number, enhanced: string, text: string, stage: 'rcpt' | 'dot' = 'rcpt'): RecipientResult {
  return { kind: 'refused', stage, reply: { code, enhanced, text }, reason: 'refused', status: enhanced }
}

function deferred(text: string, infrastructure = false): RecipientResult {
  const reply = infrastructure ? null : { code: 450, enhanced: '4.2.0', text }
  return { kind: 'deferred', stage: 'rcpt', reply, reason: 'deferred', status: '4.2.0', infrastructure }
}

const TAKEN: RecipientResult = {
  kind: 'delivered',
  reply: { code: 250, enhanced: '2.0.0', text: 'queued as 17' },
  peerNotifies: false,
}
const DEAD = refused(550, '5.1.1', 'User unknown')

await t.test('a delivery is one sent state, one attempt, one event and the counters', async (t) => {
  const one = rig({ message: { priority: 'urgent' } })
  const got = await one.conclude(TAKEN)
  t.match(got, {
    messageId: HEAD.id,
    key: 7,
    fence: 3,
    to: 'sent',
    atMs: NOW_MS,
    countsAsAttempt: false,
    ambiguous: false,
    suppressions: [],
    spawn: null,
    counters: [{ name: 'warm-up', period: '2026-03-04', delta: 1 }],
    attempt: { provider: 'own', remoteHost: 'mx.example.org', replyCode: 250, class: 'delivered', transcript: null },
  })
  t.equal(got.events.length, 1)
  t.match(got.events[0], { type: 'sent', messageId: HEAD.id, recipientKey: 7, recipient: 'Ana@example.org' })
  t.equal(one.told.length, 0, 'nobody is told of a failure')
})

await t.test('a dead address bounces, is suppressed everywhere, and its sender is told', async (t) => {
  const got = await rig({}).conclude(DEAD)
  t.match(got, { to: 'bounced', reason: 'user-unknown', countsAsAttempt: true, counters: [] })
  t.strictSame(got.suppressions, [
    {
      address: 'ana@example.org',
      scope: 'everything',
      reason: 'hard-bounce',
      class: 'user-unknown',
      smtpCode: '550',
      detail: '550 User unknown',
      atMs: NOW_MS,
      untilMs: null,
    },
  ])
  t.match(got.attempt, { stage: 'rcpt', replyCode: 550, class: 'user-unknown', transcript: 'the dialogue' })
  t.match(got.events, [{ type: 'bounced', class: 'user-unknown', status: '5.1.1', detail: { hard: true } }])
  t.equal(got.events.length, 1)
  t.match(got.spawn, {
    reversePath: '',
    submitter: 'system',
    recipients: [{ address: 'shop@sending.example', notify: ['never'] }],
    expiresMs: NOW_MS + HOUR_MS,
  })
  const report = readReport(got.spawn!.content, rules)
  t.match(report, { kind: 'bounce', originalMessageId: '<m@sending.example>' })
  t.strictSame(
    report.recipients.map((one) => [one.address, one.status, one.hard]),
    [['Ana@example.org', '5.1.1', true]],
  )
  const sandbox = await rig({ message: { sandbox: true } }).conclude(DEAD)
  t.equal(sandbox.suppressions[0]?.untilMs, NOW_MS + 24 * HOUR_MS, 'what was asked for in the sandbox is forgotten')
})

await t.test('what the DNS says for good is hard as well', async (t) => {
  for (const [reason, hard] of [
    ['domain-not-found', true],
    ['domain-takes-no-mail', true],
    ['mail-loop', false],
  ] as const) {
    const got = await rig({ context: { trace: null } }).conclude({
      kind: 'refused',
      stage: 'dns',
      reply: null,
      reason,
      status: '5.1.2',
    })
    t.equal(got.to, 'bounced', reason)
    t.equal(got.suppressions.length, hard ? 1 : 0, reason)
    t.equal(got.attempt, null)
  }
})

await t.test('a refusal of the message or of a full box bounces and suppresses nobody', async (t) => {
  for (const [code, enhanced, text, reason] of [
    [552, '5.2.2', 'mailbox full', 'mailbox-full'],
    [554, '5.7.1', 'classified as spam', 'spam-content'],
    [550, '5.2.1', 'account disabled', 'mailbox-disabled'],
    [550, '5.0.0', 'gone fishing', 'refused'],
  ] as const) {
    const got = await rig({}).conclude(refused(code, enhanced, text))
    t.match(got, { to: 'bounced', reason }, text)
    t.strictSame(got.suppressions, [], text)
  }
})

await t.test('a refusal of our address is tried again another way before it is a bounce', async (t) => {
  const blocked = refused(554, '5.7.1', 'Your IP address is blocked here')
  for (const attempts of [0, 1]) {
    const got = await rig({ recipient: { attempts } }).conclude(blocked)
    t.match(got, { to: 'deferred', reason: 'blocked', countsAsAttempt: true, spawn: null, suppressions: [] })
    t.equal(got.dueMs, NOW_MS + 60_000 * (attempts + 1))
  }
  const last = await rig({ recipient: { attempts: 2 } }).conclude(blocked)
  t.match(last, { to: 'bounced', reason: 'ip-blocked', suppressions: [] })
  const relay = await rig({ context: { provider: { id: 'r', name: 'relay', kind: 'smarthost' } } }).conclude(blocked)
  t.equal(relay.to, 'bounced', 'a relay has no other way')
  const late = await rig({ message: { expiresMs: NOW_MS + 1000 } }).conclude(blocked)
  t.equal(late.to, 'bounced', 'nor does mail whose time is over')
})

await t.test('a transient answer waits and counts; trouble on the way waits and never counts', async (t) => {
  const answered = await rig({ maxAttempts: 5 }).conclude(deferred('greylisted'))
  t.match(answered, { to: 'deferred', reason: 'greylist', countsAsAttempt: true, dueMs: NOW_MS + 300_000, spawn: null })
  t.match(answered.events, [{ type: 'deferred', class: 'greylist' }])
  const down = await rig({ maxAttempts: 1, recipient: { attempts: 1 } }).conclude(deferred('', true))
  t.match(down, {
    to: 'deferred',
    reason: 'deferred',
    countsAsAttempt: false,
    dueMs: NOW_MS + 300_001,
    suppressions: [],
  })
  const short = await rig({ message: { expiresMs: NOW_MS + 5000 } }).conclude(deferred('greylisted'))
  t.equal(short.dueMs, NOW_MS + 5000, 'due at the end of its lifetime at the latest')
})

await t.test('attempts are counted up to max_attempts when there is one', async (t) => {
  const before = await rig({ maxAttempts: 3, recipient: { attempts: 1 } }).conclude(deferred('later'))
  t.equal(before.to, 'deferred')
  const last = await rig({ maxAttempts: 3, recipient: { attempts: 2 } }).conclude(deferred('later'))
  t.match(last, { to: 'bounced', reason: 'attempts-used-up', suppressions: [] })
  t.ok(last.spawn)
  const unlimited = await rig({ recipient: { attempts: 1000 } }).conclude(deferred('later'))
  t.equal(unlimited.to, 'deferred')
})

await t.test('an end that stayed open is tried twice more and then told as such', async (t) => {
  const open: RecipientResult = { kind: 'uncertain', stage: 'dot', reason: 'lost-after-dot' }
  for (const uncertain of [0, 1])
    t.match(await rig({ recipient: { uncertain } }).conclude(open), {
      to: 'deferred',
      ambiguous: true,
      countsAsAttempt: false,
      spawn: null,
    })
  const last = await rig({ recipient: { uncertain: 2 } }).conclude(open)
  t.match(last, { to: 'uncertain', reason: 'lost-after-dot', ambiguous: true, suppressions: [] })
  t.match(last.events, [{ type: 'uncertain', status: '4.4.2' }])
  t.match(Buffer.from(last.spawn!.content).toString(), /it may\s+have\s+arrived/)
})

await t.test('a time that is over ends without blame', async (t) => {
  const got = await rig({ context: { trace: null } }).expire()
  t.match(got, { to: 'expired', reason: 'lifetime-over', countsAsAttempt: false, attempt: null, suppressions: [] })
  t.match(got.events, [{ type: 'expired', status: '4.4.7', class: 'expired' }])
  t.ok(got.spawn)
  const suppressed = await rig({}).conclude({ kind: 'suppressed', reason: 'complaint', detail: 'asked for none' })
  t.match(suppressed, { to: 'suppressed', reason: 'complaint', suppressions: [] })
})

await t.test('the sender is told when the policy or its own NOTIFY says so, and never the null sender', async (t) => {
  const spawned = async (setting: Setting): Promise<NewMessage | null> => (await rig(setting).conclude(DEAD)).spawn
  const cases: readonly [NonNullable<Setting['policy']>, ClaimedRecipient['notify'], boolean][] = [
    ['failure', null, true],
    ['failure', ['failure', 'delay'], true],
    ['failure', ['never'], false],
    ['failure', ['success'], false],
    ['requested', null, false],
    ['requested', ['failure'], true],
    ['never', ['failure'], false],
  ]
  for (const [policy, notify, wanted] of cases)
    t.equal(
      (await spawned({ policy, recipient: { notify } })) !== null,
      wanted,
      `${policy} ${notify?.join() ?? 'none'}`,
    )
  t.equal(await spawned({ message: { reversePath: '' }, recipient: { notify: ['failure'] } }), null)
  const whole = await spawned({ message: { ret: 'full', envelopeId: 'e-1' } })
  t.match(Buffer.from(whole!.content).toString(), /Original-Envelope-Id: e-1[\s\S]*Thank you\./)
  const header = await spawned({ message: { ret: 'hdrs' } })
  t.notMatch(Buffer.from(header!.content).toString(), /Thank you\./)
})

await t.test('a sender that asked is told of success by the last host that can tell, RFC 3461 §5.2.2', async (t) => {
  const asked: Setting = { recipient: { notify: ['success', 'failure'], originalRecipient: 'rfc822;ana@old.example' } }
  const got = await rig({ ...asked, policy: 'requested', message: { ret: 'full', envelopeId: 'e-1' } }).conclude(TAKEN)
  t.match(got, { to: 'sent', counters: [{ delta: 1 }] }, 'the outcome is the same')
  const text = Buffer.from(got.spawn!.content).toString()
  t.match(
    text,
    /Final-Recipient: rfc822; Ana@example\.org\r\nAction: relayed\r\nStatus: 2\.0\.0\r\nRemote-MTA: dns; mx\.example/,
  )
  t.match(text, /Original-Envelope-Id: e-1/)
  t.match(text, /Original-Recipient: rfc822;ana@old\.example/)
  t.match(text, /Diagnostic-Code: smtp; 250 queued as 17/)
  t.notMatch(text, /Thank you\./, 'RET=FULL is about failures, RFC 3461 §4.3')
  t.equal(readReport(got.spawn!.content, rules).kind, 'success', 'and suppresses nobody')
  t.match(got.spawn, { reversePath: '', recipients: [{ address: 'shop@sending.example', notify: ['never'] }] })

  const passedOn = await rig(asked).conclude({ ...TAKEN, peerNotifies: true } as RecipientResult)
  t.equal(passedOn.spawn, null, 'a host that offers DSN tells by itself')
  const none: readonly [string, Setting][] = [
    ['nobody asked', {}],
    ['failure alone was asked for', { recipient: { notify: ['failure', 'delay'] } }],
    ['never', { recipient: { notify: ['never'] } }],
    ['the null sender', { ...asked, message: { reversePath: '' } }],
    ['the policy', { ...asked, policy: 'never' }],
  ]
  for (const [why, setting] of none) t.equal((await rig(setting).conclude(TAKEN)).spawn, null, why)
})

await t.test('a sender that asked is told of delay when the next try comes too late', async (t) => {
  const asked: Setting = { recipient: { notify: ['failure', 'delay'] } }
  const late = 3 * HOUR_MS + 60_000
  const got = await rig({ ...asked, waitMs: late }).conclude(deferred('busy'))
  t.match(got, { to: 'deferred', dueMs: NOW_MS + late })
  const text = Buffer.from(got.spawn!.content).toString()
  t.match(text, /Action: delayed\r\nStatus: 4\.2\.0\r\n/)
  t.match(text, /Will-Retry-Until: Thu, 05 Mar 2026 00:00:00 \+0000/)
  t.match(text, /You need not send it\s+again/)
  t.equal(readReport(got.spawn!.content, rules).kind, 'delay')
  t.match(got.spawn?.idempotency, { scope: 'delay-notice', key: '7' }, 'once')
  const unsure = await rig({ ...asked, waitMs: late }).conclude({ kind: 'uncertain', stage: 'dot', reason: 'lost' })
  t.match(unsure, { to: 'deferred', ambiguous: true, spawn: { subject: 'Delivery delayed' } })

  const none: readonly [string, Setting][] = [
    ['it is tried again in time', { ...asked, waitMs: late - 120_000 }],
    ['nobody asked', { waitMs: late }],
    ['failure alone was asked for', { recipient: { notify: ['failure'] }, waitMs: late }],
    ['switched off', { ...asked, waitMs: late, delayNotice: 0 }],
    ['the null sender', { ...asked, waitMs: late, message: { reversePath: '' } }],
    // Its lifetime began with the time it was handed in for, two hours from now.
    ['not due before', { ...asked, waitMs: late, message: { expiresMs: NOW_MS + 27 * HOUR_MS } }],
    ['it ends before', { ...asked, waitMs: late, message: { expiresMs: NOW_MS + 2 * HOUR_MS } }],
  ]
  for (const [why, setting] of none) t.equal((await rig(setting).conclude(deferred('busy'))).spawn, null, why)
})

await t.test('routing sees the class of what was answered', async (t) => {
  const { concluder } = rig({})
  t.equal(concluder.classOf(DEAD), 'user-unknown')
  t.equal(concluder.classOf(deferred('', true)), 'network')
  t.equal(concluder.classOf({ kind: 'uncertain', stage: 'dot', reason: 'x' }), '')
})

await t.test('what a relay defers is tried after its own three waits, and the answer after them bounces', async (t) => {
  const later: RecipientResult = {
    ...{ kind: 'deferred', stage: 'rcpt', reason: 'rcpt-deferred', status: '4.2.0', infrastructure: false },
    reply: { code: 451, enhanced: '4.2.0', text: 'not now' },
  }
  const relay = { provider: { id: 'r', name: 'relay', kind: 'smarthost' as const } }
  const after = (relayDeferrals: number, attempts: number) =>
    rig({ context: relay, relayDeferrals, recipient: { attempts } }).conclude(later)
  for (const [deferrals, attempts] of [
    [0, 0],
    [1, 1],
    [2, 2],
    // Nine answers of the MX before it was handed over do not count against the relay.
    [0, 9],
  ] as const)
    t.match(await after(deferrals, attempts), { to: 'deferred', countsAsAttempt: true })
  t.match(await after(3, 3), { to: 'bounced', reason: 'attempts-used-up', suppressions: [] })
  const away = { ...later, reply: null, stage: 'connect' as const, infrastructure: true }
  t.equal(
    (await rig({ context: relay, relayDeferrals: 30 }).conclude(away)).to,
    'deferred',
    'a relay that is away never does',
  )
  t.equal((await rig({ relayDeferrals: 30, recipient: { attempts: 30 } }).conclude(later)).to, 'deferred', 'nor an MX')

  const config = { retry_after: [300, 7200], relay_retry_after: [300, 900, 1800] }
  const waits = [1, 2, 3].map(
    (relayAnswers) =>
      nextDueMs(config, { nowMs: 0, attempts: 20, infrastructure: false, retryAfterMs: null, relayAnswers }) / 1000,
  )
  for (const [i, wait] of waits.entries())
    t.ok(wait >= config.relay_retry_after[i]! && wait <= config.relay_retry_after[i]! * 1.1, `${wait} s`)
})
