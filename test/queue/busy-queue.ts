// busy-queue.ts DIRECTORY PREFIX: accepts, claims and settles until it is killed, and prints what was answered:
// `accepted ID`, `ended ID` for a final outcome, `wrong ID` for a content that is not what was accepted.
import { systemClock } from '#base'
import type { Claim, QueueStore } from '#queue'
import { message, queued, settlement } from '../contract/queue-messages.ts'
import { contentFor, DOMAINS, openBusyQueue } from './busy-queue-rig.ts'

const [directory = '', prefix = ''] = process.argv.slice(2)
const HOUR_MS = 3_600_000
const { queue, store } = await openBusyQueue(directory)

function say(what: string): void {
  process.stdout.write(`${what}\n`)
}

async function accept(lane: number): Promise<never> {
  for (let n = 0; ; n++) {
    const id = `${prefix}-${lane}-${n}`
    const to = [`${id}@${DOMAINS[n % 2]}`]
    const made = message(to, { id, acceptedMs: systemClock.now(), content: contentFor(id) })
    await queue.accept(made, queued(made))
    say(`accepted ${id}`)
  }
}

async function deliver(domain: string): Promise<never> {
  let former: Claim | undefined
  for (let n = 0; ; n++) {
    const settling = former === undefined ? undefined : settle(former, n)
    const [[claim]] = await Promise.all([queue.claim(domain), settling])
    former = claim
    if (claim === undefined) await new Promise(setImmediate)
    else if (!(await queue.content(claim.message.id)).equals(contentFor(claim.message.id)))
      say(`wrong ${claim.message.id}`)
  }
}

async function settle(claim: Claim, n: number): Promise<void> {
  const atMs = systemClock.now()
  const to = n % 5 === 0 ? 'deferred' : n % 7 === 0 ? 'bounced' : 'sent'
  const [result] = await queue.settle([settlement(claim, to, { atMs, dueMs: atMs + HOUR_MS })])
  if (result?.kind === 'settled' && to !== 'deferred') say(`ended ${claim.message.id}`)
}

async function tidy(store: QueueStore): Promise<never> {
  for (;;) {
    await store.reclaimSpace(systemClock.now())
    await new Promise((resolve) => systemClock.after(5, () => resolve(null)))
  }
}

await Promise.all([...[0, 1, 2, 3, 4, 5].map(accept), ...[...DOMAINS, ...DOMAINS].map(deliver), tidy(store)])
