import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadReplyRules, readReport } from '../src/feedback/index.ts'

// Scores the readers on the corpus: bounces with LF and with CRLF, replies, complaints. Nothing of the corpus is kept here.

const corpus = join(import.meta.dirname, '../../shared/corpus')
const rules = loadReplyRules(join(import.meta.dirname, '../config/replies.toml'))
const showMisses = process.argv.includes('--misses')

type Line = Record<string, unknown>
type ExpectedReply = { text: string; category: string; hard: boolean | null; id: string }
type ExpectedComplaint = {
  path: string
  complaint: boolean
  feedbackType: string | null
  originalMailFrom: string | null
  originalMessageId: string | null
  recipients: string[]
}

if (!existsSync(corpus)) {
  console.log('score: left out, ../shared/corpus is not beside the checkout')
  process.exit(0)
}
scoreBounces('LF', (text) => text.replaceAll('\r\n', '\n'))
scoreBounces('CRLF', (text) => text.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n'))
scoreReplies()
scoreComplaints()

function linesOf<T>(file: string): T[] {
  return readFileSync(join(corpus, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

function scoreBounces(name: string, lineEnds: (text: string) => string): void {
  const expected = linesOf<{ path: string }>('bounces/expected.jsonl')
  let slowestMs = 0
  const results = expected.map(({ path }) => {
    const raw = Buffer.from(lineEnds(readFileSync(join(corpus, 'bounces', path), 'latin1')), 'latin1')
    const startedMs = performance.now()
    const { kind, recipients } = readReport(raw, rules)
    slowestMs = Math.max(slowestMs, performance.now() - startedMs)
    return JSON.stringify({ path, kind, recipients })
  })
  const folder = mkdtempSync(join(tmpdir(), 'relevo-score-'))
  try {
    const file = join(folder, 'results.jsonl')
    writeFileSync(file, `${results.join('\n')}\n`)
    const score = execFileSync(process.execPath, [
      join(corpus, 'score.mjs'),
      join(corpus, 'bounces/expected.jsonl'),
      file,
    ])
    const facts = JSON.parse(score.toString()) as Line
    console.log(`bounces, ${name}:`)
    for (const [fact, value] of Object.entries(facts)) console.log(`  ${fact.padEnd(26)} ${String(value)}`)
    console.log(`  ${'slowest'.padEnd(26)} ${slowestMs.toFixed(1)} ms`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function scoreReplies(): void {
  const count = { same: 0, all: 0, hardFound: 0, hardWanted: 0, hardSaid: 0, hardRight: 0 }
  for (const { text, category, hard, id } of linesOf<ExpectedReply>('responses/responses.jsonl')) {
    const found = rules.classify({ text })
    count.all++
    if (found.class === category) count.same++
    if (hard === true) count.hardWanted++
    if (hard === true && found.hard === true) count.hardFound++
    if (hard !== null && found.hard === true) count.hardSaid++
    if (showMisses && (found.class !== category || found.hard !== hard))
      console.log(`miss ${id}: ${found.class}/${found.hard}, expected ${category}/${hard}: ${text.slice(0, 200)}`)
  }
  console.log('replies:')
  console.log(`  class                      ${percent(count.same, count.all)} of ${count.all}`)
  console.log(`  hard recall                ${percent(count.hardFound, count.hardWanted)} of ${count.hardWanted}`)
  console.log(`  hard precision             ${percent(count.hardFound, count.hardSaid)} of ${count.hardSaid}`)
}

function scoreComplaints(): void {
  const count = { kind: 0, all: 0, sender: 0, senders: 0, recipients: 0, withRecipients: 0, id: 0, ids: 0 }
  for (const one of linesOf<ExpectedComplaint>('arf/expected.jsonl')) {
    const report = readReport(readFileSync(join(corpus, 'arf', one.path)), rules)
    const wanted = one.complaint ? 'complaint' : 'report'
    count.all++
    if (report.kind === wanted) count.kind++
    if (one.originalMailFrom !== null) {
      count.senders++
      if (report.originalReturnPath?.toLowerCase() === one.originalMailFrom.toLowerCase()) count.sender++
    }
    if (one.originalMessageId !== null) {
      count.ids++
      if (report.originalMessageId?.includes(one.originalMessageId.replace(/^<|>$/g, ''))) count.id++
    }
    const addresses = report.recipients.map(({ address }) => address.toLowerCase()).sort()
    if (one.recipients.length > 0) {
      count.withRecipients++
      const same =
        addresses.join() ===
        one.recipients
          .map((address) => address.toLowerCase())
          .sort()
          .join()
      if (same) count.recipients++
      else if (showMisses) console.log(`miss ${one.path}: ${addresses.join()}, expected ${one.recipients.join()}`)
    }
    if (showMisses && report.kind !== wanted) console.log(`miss ${one.path}: ${report.kind}, expected ${wanted}`)
  }
  console.log('complaints:')
  console.log(`  kind                       ${percent(count.kind, count.all)} of ${count.all}`)
  console.log(`  original sender            ${percent(count.sender, count.senders)} of ${count.senders}`)
  console.log(`  original Message-ID        ${percent(count.id, count.ids)} of ${count.ids}`)
  console.log(
    `  recipients                 ${percent(count.recipients, count.withRecipients)} of ${count.withRecipients}`,
  )
}
