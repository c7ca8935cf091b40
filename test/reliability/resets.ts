import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { AS_USUAL, type Behaviour, load, type Script } from '#world'
import { DaemonRig } from '../daemon/daemon-rig.ts'

export type Resets = {
  /** Connections to the daemon that were reset, in clear text and under TLS. */
  readonly toIt: { readonly plain: number; readonly tls: number }
  /** Connections of the daemon that the host reset, likewise. */
  readonly ofIt: { readonly plain: number; readonly tls: number }
  readonly acked: number
  /** Outcomes of those, by kind. */
  readonly ended: Readonly<Record<string, number>>
  readonly samePid: boolean
  /** Words of the log that speak of an error nobody caught. */
  readonly uncaught: readonly string[]
}

const DIALOGUE =
  'EHLO reset.test\r\nMAIL FROM:<app@sender.test>\r\nRCPT TO:<u@good.test>\r\nDATA\r\nFrom: <app@sender.test>\r\nSubject: cut\r\n\r\n' +
  'half a message, that is never ended '.repeat(20)
const AT_ONCE = 25

/** Resets connections of both kinds at random offsets until there were so many of each side, while mail goes on; then lets all mail end. */
export async function resets(each: number, random: () => number, tell: (text: string) => void): Promise<Resets> {
  const ofIt = { plain: 0, tls: 0 }
  let calm = false
  const cut: Behaviour = (s) => {
    if (calm || random() < 0.5) return AS_USUAL
    if (s.secure) ofIt.tls += 1
    else ofIt.plain += 1
    s.hold(Math.floor(random() * 4))
    s.reset()
    return undefined
  }
  const script: Script = { mail: cut, rcpt: cut, data: cut, dot: cut }
  const domains = Array.from({ length: 10 }, (_, i) => `r${i}.test`)
  await using rig = await DaemonRig.open({
    ...{ good: { ...script }, bad: { ...script, tls: false }, domains: ['good.test', ...domains] },
    delivery: 'retry_after = [1]',
    more: '[reputation]\nmin_samples = 100000000',
  })
  const pid = rig.process!.pid
  const toIt = { plain: 0, tls: 0 }
  const stop = new AbortController()
  const loading = load({
    ...{
      port: rig.ports.trusted,
      sessions: 4,
      signal: stop.signal,
      from: 'app@sender.test',
      bodyBytes: 600,
      pauseMs: 20,
    },
    to: (n) => (n % 2 === 0 ? `u${n}@bad.test` : `u${n}@${domains[n % domains.length]}`),
  })
  const enough = () => ofIt.plain + ofIt.tls >= each && toIt.plain + toIt.tls >= each
  const began = performance.now()
  while (!enough() && performance.now() - began < 1_200_000) {
    const batch = toIt.plain + toIt.tls >= each ? 0 : AT_ONCE
    await Promise.all(Array.from({ length: batch }, (_, i) => resetOne(rig, i % 2 === 0, random, toIt)))
    if (batch === 0) await new Promise((resolve) => setTimeout(resolve, 100))
    tell(`${toIt.plain + toIt.tls} to it, ${ofIt.plain + ofIt.tls} of it`)
  }
  calm = true
  stop.abort()
  const { acked } = await loading
  type Status = { readonly queue: Readonly<Record<string, number>> }
  const counts = async () => (await rig.api.get<Status>('/status')).queue
  await rig.until(async () => {
    const { ready = 0, deferred = 0, leased = 0 } = await counts()
    return ready + deferred + leased === 0
  }, 120_000)
  const ended = await counts()
  return {
    ...{ toIt, ofIt, acked: acked.size },
    ended: Object.fromEntries(Object.entries(ended).filter(([, count]) => count > 0)),
    samePid: rig.process!.pid === pid && rig.process!.exitCode === null,
    uncaught: rig.output.split('\n').filter((line) => /uncaught|unhandled/i.test(line)),
  }
}

/** Says a random part of a session, and is gone. */
function resetOne(
  rig: DaemonRig,
  tls: boolean,
  random: () => number,
  counts: { plain: number; tls: number },
): Promise<void> {
  return new Promise((resolve) => {
    const bytes = Math.floor(random() * DIALOGUE.length)
    const afterMs = Math.floor(random() * 20)
    const bare = connectTcp({ host: '127.0.0.1', port: tls ? rig.ports.tls : rig.ports.trusted })
    const away = (): void => {
      if (tls) counts.tls += 1
      else counts.plain += 1
      bare.resetAndDestroy()
    }
    bare.on('error', () => {})
    bare.on('close', () => resolve())
    let socket: Socket = bare
    bare.once('connect', () => setTimeout(away, afterMs))
    if (tls) socket = connectTls({ socket: bare, rejectUnauthorized: false })
    socket.on('error', () => {})
    socket.once(tls ? 'secureConnect' : 'connect', () => socket.write(DIALOGUE.slice(0, bytes)))
  })
}
