import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { FACTS, type Observations } from './facts.ts'
import { howTo } from './how-to.ts'
import { choosePorts, ensureAccess, ROOT, start, stop } from './installation.ts'
import { RoundTrip } from './round-trip.ts'

// Behind scripts/quickstart.sh, which has made sure that the packages are there.

const HOME = join(ROOT, '.relevo')

const SIGNALS = ['SIGINT', 'SIGTERM'] as const
/** Until the daemon stands, a signal ends this at once. */
const giveUp = (): never => process.exit(130)
for (const signal of SIGNALS) process.on(signal, giveUp)

async function once(anyPort: boolean, keep: string | undefined): Promise<number> {
  // A round trip of its own each time: nothing of an earlier one may make it pass.
  const directory = join(HOME, `once-${process.pid}`)
  const running = await start(directory, await choosePorts(anyPort))
  console.log(`relevo runs in sandbox mode: nothing leaves this machine`)
  let told = 0
  let held = 0
  const tell = (seen: Partial<Observations>): void => {
    for (const fact of FACTS.slice(told)) {
      let holds: boolean
      let text: string
      try {
        holds = fact.holds(seen as Observations)
        text = fact.text(seen as Observations)
      } catch {
        // Not seen yet: this fact belongs to a later step.
        return
      }
      told += 1
      held += holds ? 1 : 0
      console.log(`${holds ? 'ok' : 'NOT OK'} ${text}`)
    }
  }
  try {
    const seen = await RoundTrip.run(running, tell)
    if (keep !== undefined) writeFileSync(keep, JSON.stringify(seen, null, 2))
  } finally {
    await stop(running)
  }
  const whole = held === FACTS.length
  console.log(whole ? `all ${held} facts held` : `${held} of ${FACTS.length} facts held; the log: ${running.logFile}`)
  if (whole) rmSync(directory, { recursive: true, force: true })
  return whole ? 0 : 1
}

async function stay(anyPort: boolean): Promise<number> {
  const running = await start(HOME, await choosePorts(anyPort))
  const secrets = await ensureAccess(running)
  console.log(howTo(running, secrets))
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of SIGNALS) process.off(signal, giveUp).once(signal, () => resolve('interrupted'))
  })
  const ended = new Promise<'ended'>((resolve) => running.process.once('exit', () => resolve('ended')))
  if ((await Promise.race([interrupted, ended])) === 'ended') {
    console.error(`quickstart: the daemon ended by itself; see ${running.logFile}`)
    return 1
  }
  console.log('\nstopping')
  return (await stop(running)) ?? 1
}

const { values } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    'any-port': { type: 'boolean', default: false },
    observations: { type: 'string' },
  },
})
try {
  process.exitCode = values.once ? await once(values['any-port'], values.observations) : await stay(values['any-port'])
} catch (error) {
  console.error(`quickstart: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
