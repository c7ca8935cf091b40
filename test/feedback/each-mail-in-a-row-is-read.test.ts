import { join } from 'node:path'
import t from 'tap'
import { silentLog, systemClock } from '#base'
import { ReportReader } from '#feedback'
import { failedGroup, report } from './returned-mail.ts'

const RULES = join(import.meta.dirname, '../../config/replies.toml')

await t.test('ten bounces after one another are all read by the one thread', async (t) => {
  const warnings: string[] = []
  const log = { ...silentLog, warn: (_fields: object, message: string) => void warnings.push(message) }
  const reader = new ReportReader(RULES, systemClock, log)
  t.teardown(() => reader.stop())
  const kinds: string[] = []
  for (let i = 0; i < 10; i++) {
    const { kind, recipients } = await reader.read(Buffer.from(report([failedGroup(`user${i}@example.org`)])))
    kinds.push(`${kind} ${recipients[0]?.address}`)
  }
  t.strictSame(
    kinds,
    Array.from({ length: 10 }, (_, i) => `bounce user${i}@example.org`),
  )
  t.strictSame(warnings, [])
})
