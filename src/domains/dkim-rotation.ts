import { type Clock, EX, Fault } from '#base'
import type { DnsInspector } from './dns-inspector.ts'
import type { PublishedKey } from './key-ring.ts'
import type { SendingDomain, SendingDomains } from './sending-domains.ts'

export type DkimRotationParts = {
  readonly domains: SendingDomains
  /** Null: the DNS is not looked at (sandbox). */
  readonly inspector: DnsInspector | null
  /** Whether a message of the domain that was accepted before a time still waits here. */
  waits(domain: string, acceptedBeforeMs: number): Promise<boolean>
  readonly changeOverMs: number
  readonly retireAfterMs: number
  /** Something that people should know of. */
  tell(
    type: 'dkim-changed-over' | 'dkim-change-over-waits' | 'dkim-key-retired',
    domain: string,
    detail: Readonly<Record<string, unknown>>,
  ): void
  readonly clock: Clock
}

/** How often it is told that a change-over waits. */
const TELL_AGAIN_MS = 86_400_000

/**
 * Changes the keys of a domain: a new pair is made and published beside the old one; once it stands in the DNS and its
 * time has come, it signs; the old pair stays published until the last message it can have signed is gone, and a while
 * longer for those on their way. Everything it knows is in the store, so a restart changes nothing.
 */
export class DkimRotation {
  readonly #parts: DkimRotationParts
  readonly #told = new Map<string, number>()
  #running: Promise<void> | null = null

  constructor(parts: DkimRotationParts) {
    this.#parts = parts
  }

  /**
   * @param atMs when the new pair is to sign; null: after the configured time
   * @returns the new pair, to publish
   * @throws Fault `rotation-pending`, `in-the-past`
   */
  async begin(domain: SendingDomain, atMs: number | null): Promise<readonly PublishedKey[]> {
    const { clock, changeOverMs, domains } = this.#parts
    const nowMs = clock.now()
    if (atMs !== null && atMs < nowMs)
      throw new Fault('the time of the change-over has passed', {
        code: 'in-the-past',
        field: 'at',
        remedy: 'Give a time to come, or none.',
        exitCode: EX.DATAERR,
      })
    return domains.keyRing.rotate(domain.name, atMs ?? nowMs + changeOverMs)
  }

  /**
   * The pair that waits signs from now on.
   * @param force although it does not stand in the DNS: mail then fails DKIM until it does
   * @throws Fault `no-rotation`, `not-published`
   */
  async changeOverNow(domain: SendingDomain, force: boolean): Promise<readonly PublishedKey[]> {
    const { domains } = this.#parts
    const waiting = (await domains.publishedKeys(domain.name)).filter((key) => key.state === 'next')
    if (waiting.length === 0)
      throw new Fault(`no new keys of ${domain.name} wait to sign`, {
        code: 'no-rotation',
        field: 'domain',
        remedy: `Make them with: relevo dkim rotate ${domain.name}`,
        exitCode: EX.DATAERR,
      })
    const lacking = force ? [] : await this.#unpublished(domain, waiting)
    if (lacking.length > 0)
      throw new Fault(`not in the DNS everywhere: ${lacking.join(', ')}`, {
        code: 'not-published',
        field: 'domain',
        remedy: `See what is missing with: relevo dns verify ${domain.name}`,
        exitCode: EX.DATAERR,
      })
    await this.#changeOver(domain, waiting)
    return domains.publishedKeys(domain.name)
  }

  /** What is due: change-overs whose time has come, old keys that are no longer needed. Called from time to time. */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = null
    })
    return this.#running
  }

  async #run(): Promise<void> {
    for (const domain of this.#parts.domains.list()) {
      const keys = await this.#parts.domains.publishedKeys(domain.name)
      const nowMs = this.#parts.clock.now()
      const due = keys.filter((key) => key.state === 'next' && (key.signsFromMs ?? 0) <= nowMs)
      if (due.length > 0) await this.#tryChangeOver(domain, due)
      await this.#retire(domain, keys)
    }
  }

  async #tryChangeOver(domain: SendingDomain, due: readonly PublishedKey[]): Promise<void> {
    const lacking = await this.#unpublished(domain, due)
    if (lacking.length === 0) {
      await this.#changeOver(domain, due)
      return
    }
    const nowMs = this.#parts.clock.now()
    if (nowMs - (this.#told.get(domain.name) ?? Number.NEGATIVE_INFINITY) < TELL_AGAIN_MS) return
    this.#told.set(domain.name, nowMs)
    this.#parts.tell('dkim-change-over-waits', domain.name, {
      missing: lacking,
      remedy: `the old keys go on signing; see relevo dns verify ${domain.name}`,
    })
  }

  async #changeOver(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<void> {
    await this.#parts.domains.keyRing.changeOver(domain.name)
    this.#told.delete(domain.name)
    this.#parts.tell('dkim-changed-over', domain.name, { selectors: keys.map((key) => key.selector) })
  }

  async #retire(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<void> {
    const { clock, retireAfterMs, waits, domains, tell } = this.#parts
    const old = keys.filter(
      (key) => key.state === 'retiring' && (key.signedUntilMs ?? 0) + retireAfterMs <= clock.now(),
    )
    if (old.length === 0) return
    const lastMs = Math.max(...old.map((key) => key.signedUntilMs ?? 0))
    if (await waits(domain.name, lastMs)) {
      // It has its way still before it: the time is counted from when it is gone.
      await domains.keyRing.signedUntil(domain.name, clock.now())
      return
    }
    await domains.keyRing.retire(domain.name, lastMs)
    tell('dkim-key-retired', domain.name, {
      records: old.map((key) => key.host),
      remedy: 'these records may be removed from the DNS',
    })
  }

  /** Names of the key records that do not stand in the DNS as they must. */
  async #unpublished(domain: SendingDomain, keys: readonly PublishedKey[]): Promise<readonly string[]> {
    const { inspector, domains } = this.#parts
    if (inspector === null) return []
    const { records } = await inspector.inspect(domain, await domains.publishedKeys(domain.name))
    return keys
      .map((key) => key.host)
      .filter((host) => records.find(({ check, name }) => check === 'dkim' && name === host)?.verdict !== 'ok')
  }
}
