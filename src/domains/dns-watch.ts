import type { Clock } from '#base'
import type { Records } from '#store'
import type { InspectedRecord, Inspection } from './check/finding.ts'
import type { DnsInspector } from './dns-inspector.ts'
import type { SendingDomains } from './sending-domains.ts'

export type DnsWatchParts = {
  readonly domains: SendingDomains
  readonly inspector: DnsInspector
  readonly records: Records
  readonly clock: Clock
  /** An alert, or its end. */
  tell(type: 'dns-record-lost' | 'dns-record-restored', domain: string, detail: Readonly<Record<string, unknown>>): void
}

/** Of each domain, the records (`TYPE name`) that stood as they must, and those that were lost since. */
type Known = { readonly good: readonly string[]; readonly lost: readonly string[] }

const SETTING = 'dns-watch:'
/** Domains looked at together: one whose servers keep silent does not hold up all others. */
const AT_ONCE = 4

/**
 * Looks after records that once stood: when one is lost or spoilt, that is told once, and again when it is back. A record
 * that never stood is not lost, and an answer that did not come says nothing. What it knows survives a restart.
 */
export class DnsWatch {
  readonly #parts: DnsWatchParts
  #running: Promise<number> | null = null

  constructor(parts: DnsWatchParts) {
    this.#parts = parts
  }

  /** Looks at all domains. @returns how many records are lost */
  run(): Promise<number> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  async #run(): Promise<number> {
    let lost = 0
    const domains = this.#parts.domains
      .list()
      .filter((domain) => domain.active)
      .values()
    const work = async (): Promise<void> => {
      for (const { name } of domains) {
        const count = await this.#look(name)
        lost += count
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    return lost
  }

  async #look(name: string): Promise<number> {
    const { domains, inspector, tell } = this.#parts
    const domain = domains.get(name)
    if (domain === undefined) return 0
    const known = await this.#known(name)
    const inspection = await inspector.inspect(domain, await domains.publishedKeys(name))
    const next = compare(known, inspection)
    for (const record of next.newlyLost)
      tell('dns-record-lost', name, {
        record: `${record.type} ${record.name}`,
        found: record.findings.map(({ code }) => code),
        message: record.findings.find(({ level }) => level === 'error')?.message ?? 'it is no longer there',
        publish: record.value,
        remedy: `relevo dns verify ${name}`,
      })
    for (const record of next.restored) tell('dns-record-restored', name, { record })
    await this.#keep(name, next)
    return next.lost.length
  }

  async #known(name: string): Promise<Known> {
    const { records } = this.#parts
    const row = await records.readOne(
      records.query
        .selectFrom('settings')
        .select('value')
        .where('name', '=', SETTING + name),
    )
    return row === undefined ? { good: [], lost: [] } : (JSON.parse(row.value) as Known)
  }

  async #keep(name: string, { good, lost }: Known): Promise<void> {
    const { records, clock } = this.#parts
    const value = JSON.stringify({ good, lost })
    const updated_ms = clock.now()
    await records.write(
      records.query
        .insertInto('settings')
        .values({ name: SETTING + name, value, updated_ms })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value, updated_ms })),
    )
  }
}

function compare(
  known: Known,
  { records, findings }: Inspection,
): Known & { readonly newlyLost: readonly InspectedRecord[]; readonly restored: readonly string[] } {
  const good: string[] = []
  const lost: string[] = []
  const newlyLost: InspectedRecord[] = []
  const restored: string[] = []
  // A zone that is gone as a whole loses every record in it.
  const gone = findings.some(({ code }) => code === 'no-such-domain' || code === 'dnssec-bogus')
  for (const record of records) {
    const id = `${record.type} ${record.name}`
    const before = known.good.includes(id) || known.lost.includes(id)
    const bad = record.verdict === 'missing' || record.verdict === 'wrong' || (gone && record.verdict !== 'ok')
    if (record.verdict === 'ok' && !gone) {
      good.push(id)
      if (known.lost.includes(id)) restored.push(id)
    } else if (bad && before) {
      lost.push(id)
      if (!known.lost.includes(id)) newlyLost.push(record)
    } else if (before) {
      // Nobody answered, or not everybody has it yet: what was known stays.
      if (known.lost.includes(id)) lost.push(id)
      else good.push(id)
    }
  }
  return { good, lost, newlyLost, restored }
}
