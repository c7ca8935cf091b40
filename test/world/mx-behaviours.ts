import { randomBytes } from 'node:crypto'
import type { CertificateKind } from './certificates.ts'
import type { MxSession } from './scripted-mx.ts'

/** Returned by a step that leaves the answer to the well-behaved host. */
export const AS_USUAL: unique symbol = Symbol('as usual')

/** One step of a script: a reply to say, AS_USUAL, or nothing when it acted by itself. `argument`: the command line, or the address of RCPT. */
export type Behaviour = (session: MxSession, argument: string) => string | typeof AS_USUAL | undefined

/** What a host does differently from a good one, by stage. */
export type Script = {
  readonly connect?: Behaviour
  readonly ehlo?: Behaviour
  readonly helo?: Behaviour
  readonly starttls?: Behaviour
  readonly mail?: Behaviour
  readonly rcpt?: Behaviour
  readonly data?: Behaviour
  /** Called as content comes in, before its end was seen. */
  readonly body?: Behaviour
  readonly dot?: Behaviour
  readonly rset?: Behaviour
  readonly quit?: Behaviour
  /** A line that is no command known here. */
  readonly other?: Behaviour
  /** Called for each piece that arrives, before it is read. */
  readonly onChunk?: (bytes: number) => void
  /** TLS from the first byte. */
  readonly implicitTls?: boolean
  /** Lines of the EHLO answer, without STARTTLS. */
  readonly offers?: readonly string[]
  readonly tls?: boolean
  readonly certificate?: CertificateKind
  readonly names?: readonly string[]
  /** A pause before each byte. */
  readonly paceMs?: number
  /** False: the port is closed. */
  readonly listens?: boolean
}

export const FAULTS = ['421', '4yz', '5yz', 'close', 'rst', 'garbage', 'silence'] as const
export type Fault = (typeof FAULTS)[number]

export const STAGES = ['connect', 'ehlo', 'starttls', 'mail', 'rcpt', 'data', 'dot', 'rset', 'quit'] as const
export type FaultStage = (typeof STAGES)[number]

/** A fault as a step: what is said, and what happens to the connection. */
export function fault(kind: Fault): Behaviour {
  return (s) => {
    switch (kind) {
      case '421':
        s.say('421 4.3.2 closing')
        s.close()
        return undefined
      case '4yz':
        return '451 4.3.0 not now'
      case '5yz':
        return '554 5.3.0 never'
      case 'close':
        s.close()
        return undefined
      case 'rst':
        s.reset()
        return undefined
      case 'garbage':
        s.raw(Buffer.concat([Buffer.from([0, 255, 27, 91]), randomBytes(300), Buffer.from('\r\nhello\r\n')]))
        s.hang()
        return undefined
      case 'silence':
        s.hang()
        return undefined
    }
  }
}

/** A good host with one fault at one stage. A fault at RSET needs a reason to reset: every recipient is refused there. */
export function faulty(stage: FaultStage, kind: Fault, offers?: readonly string[]): Script {
  const base: Script = offers === undefined ? {} : { offers }
  if (stage === 'rset') return { ...base, rcpt: () => '550 5.1.1 no such user', rset: fault(kind) }
  return { ...base, [stage]: fault(kind) }
}

function flood(s: MxSession, piece: string, everyMs: number, backlogBytes: number): undefined {
  const timer = setInterval(() => {
    if (s.closed) clearInterval(timer)
    else if (s.backlogBytes < backlogBytes) s.raw(piece)
  }, everyMs)
  return undefined
}

function once(s: MxSession, key: string): boolean {
  if (s.seen.has(key)) return false
  s.seen.add(key)
  return true
}

const PIPELINING_ONLY = ['PIPELINING', 'SIZE 52428800', 'ENHANCEDSTATUSCODES'] as const

/** Forty hosts a sender meets sooner or later. */
export const BEHAVIOURS = {
  good: {},
  plain: { tls: false },
  banner421: {
    connect: (s) => {
      s.say('421 4.3.2 try later')
      s.close()
      return undefined
    },
  },
  mail451: { mail: () => '451 4.7.1 not now' },
  rcpt550: { rcpt: () => '550 5.1.1 no such user' },
  greylist: {
    rcpt: (s, to) => (once(s, `${s.reversePath}>${to}`) ? '450 4.7.1 greylisted, come again' : AS_USUAL),
  },
  tarpit: { paceMs: 250 },
  nobanner: { connect: () => undefined },
  endlessbanner: { connect: (s) => flood(s, `220-${'x'.repeat(70)}\r\n`.repeat(200), 2, 1_000_000) },
  hugereply: { connect: (s) => flood(s, '2'.repeat(65_536), 1, 4_000_000) },
  tlsgarbage: {
    starttls: (s) => {
      s.raw('220 2.0.0 go\r\n')
      setTimeout(() => s.raw(randomBytes(2000)), 20)
      s.hang()
      return undefined
    },
  },
  tlshang: {
    starttls: (s) => {
      s.raw('220 2.0.0 go\r\n')
      s.hang()
      return undefined
    },
  },
  tlsinject: {
    starttls: (s) => {
      s.startTls('220 2.0.0 go\r\n250-mx.evil.test\r\n250 AUTH PLAIN LOGIN')
      return undefined
    },
  },
  dropindata: {
    body: (s) => {
      if (s.body.length > 500) s.reset()
      return undefined
    },
  },
  dropafterdot: {
    dot: (s) => {
      s.record()
      s.reset()
      return undefined
    },
  },
  stallafterdot: {
    dot: (s) => {
      s.record()
      s.hang()
      return undefined
    },
  },
  dot421: {
    dot: (s) => {
      s.say('421 4.3.0 closing')
      s.close()
      return undefined
    },
  },
  dot451: { dot: () => '451 4.3.0 try later' },
  dot554: { dot: () => '554 5.7.1 content refused' },
  garbage: { tls: false, connect: fault('garbage') },
  wrongcode: {
    mail: (s, line) => {
      s.reversePath = /<(.*?)>/.exec(line)?.[1] ?? ''
      return '200 whatever'
    },
    dot: (s) => {
      s.record()
      return '999 what is this'
    },
  },
  refuse: { listens: false },
  /** Accepts and answers nothing at all; a host that drops packets looks the same once connected (see `blackHole`). */
  blackhole: {
    connect: (s) => {
      s.hang()
      return undefined
    },
  },
  desync: {
    dot: (s) => {
      s.record()
      s.say('250 2.0.0 taken', '250 2.0.0 extra', '550 5.0.0 extra')
      return undefined
    },
  },
  heloonly: { ehlo: () => '500 5.5.1 unknown command' },
  size1000: { offers: ['PIPELINING', 'SIZE 1000', 'ENHANCEDSTATUSCODES'] },
  no8bit: { tls: false, offers: PIPELINING_ONLY },
  mixedcodes: {
    rcpt: (s) => {
      s.say('250-2.1.5 fine', '550 5.1.1 or not')
      return undefined
    },
  },
  htmlreply: {
    dot: (s) => {
      s.record()
      s.raw(
        Buffer.from(
          '250-2.0.0 <script>alert(1)</script>\x1b[31m\x00\xff\r\n250 2.0.0 "><img src=x onerror=alert(2)> =cmd|calc\r\n',
          'latin1',
        ),
      )
      return undefined
    },
  },
  earlyreply: {
    data: (s) => {
      s.expectContent()
      s.raw('354 go on\r\n250 2.0.0 taken already\r\n')
      return undefined
    },
    dot: () => '554 5.7.1 refused after all',
  },
  partial: {
    rcpt: (s, to) => {
      const remainder = Number(/(\d+)@/.exec(to)?.[1] ?? 0) % 3
      if (remainder === 1) return '550 5.1.1 no such user'
      return remainder === 2 && once(s, to) ? '452 4.5.3 too many recipients' : AS_USUAL
    },
  },
  maxper5: {
    dot: (s) => {
      s.take()
      if (s.messages < 5) return undefined
      s.say('421 4.7.0 enough for one connection')
      s.close()
      return undefined
    },
  },
  maxconn2: {
    connect: (s) => {
      if (s.openConnections <= 2) return AS_USUAL
      s.say('421 4.7.0 too many connections from you')
      s.close()
      return undefined
    },
  },
  certmismatch: { names: ['wrong.example'] },
  selfsigned: { certificate: 'self-signed' },
  expired: { certificate: 'expired' },
  quit421: {
    dot: (s) => {
      s.take()
      s.say('421 4.3.0 closing after message')
      s.close()
      return undefined
    },
  },
  rsetfail: { rcpt: () => '550 5.1.1 no such user', rset: fault('421') },
  slowdot: {
    dot: (s) => {
      s.record()
      s.hold(1500)
      return '250 2.0.0 taken at last'
    },
  },
  resetconn: { connect: fault('rst') },
} as const satisfies Record<string, Script>

export type BehaviourName = keyof typeof BEHAVIOURS
