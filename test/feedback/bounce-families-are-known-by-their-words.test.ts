import t from 'tap'
import { loadReplyRules, readReport } from '#feedback'
import { FAMILIES, type FamilySample } from './bounce-families.ts'

const rules = loadReplyRules(new URL('../../config/replies.toml', import.meta.url).pathname)

function mailOf({ from, subject, text, head = [] }: FamilySample, extra: readonly string[] = []): string {
  return [
    ...(head.some((line) => line.startsWith('Return-Path')) ? [] : ['Return-Path: <>']),
    ...head,
    `From: ${from}`,
    'To: <shop@sending.example>',
    `Subject: ${subject}`,
    ...extra,
    'Content-Type: text/plain; charset=utf-8',
    '',
    text,
  ].join('\n')
}

await t.test('each family says who failed and whether for good, with LF and with CRLF', async (t) => {
  for (const sample of FAMILIES)
    for (const [ends, lineEnd] of [
      ['LF', '\n'],
      ['CRLF', '\r\n'],
    ] as const) {
      const report = readReport(Buffer.from(mailOf(sample).replaceAll('\n', lineEnd)), rules)
      t.strictSame(
        {
          kind: report.kind,
          who: report.recipients.map(({ address }) => address),
          hard: report.recipients[0]?.hard,
        },
        { kind: sample.kind ?? 'bounce', who: sample.who, hard: sample.hard },
        `${sample.family}, ${ends}`,
      )
    }
})

await t.test('the same words in the automatic answer of a person suppress nobody', async (t) => {
  for (const sample of FAMILIES) {
    const quoted = { ...sample, from: 'Ben <ben@town.example>', subject: 'Out of office: Your order', head: [] }
    const report = readReport(Buffer.from(mailOf(quoted, ['Auto-Submitted: auto-replied'])), rules)
    t.strictSame(report.recipients, [], sample.family)
    t.not(report.kind, 'bounce', sample.family)
  }
})

await t.test('the same words, quoted by a person to another, suppress nobody', async (t) => {
  for (const sample of FAMILIES) {
    const text = `Look what I got:\n\n${sample.text.replace(/^/gm, '> ')}`
    const mail = mailOf({ ...sample, text, from: 'Ben <ben@town.example>', subject: 'a question', head: [] })
    const report = readReport(Buffer.from(mail.replace('Return-Path: <>', 'Return-Path: <ben@town.example>')), rules)
    t.strictSame({ kind: report.kind, recipients: report.recipients }, { kind: 'other', recipients: [] }, sample.family)
  }
})
