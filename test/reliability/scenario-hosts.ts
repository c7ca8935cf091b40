import { createHash } from 'node:crypto'
import { AS_USUAL, type Behaviour, faulty, type MxSession, type Script, type ScriptedMx, scriptedMx } from '#world'
import type { Act, HostPlan } from './scenario-plan.ts'

/** A copy of a message that a host has, whatever it said about it. */
export type Copy = {
  /** Order among everything a world notes. */
  readonly order: number
  readonly recipient: string
  readonly messageId: string
  readonly sha256: string
  /** Which start of the process sent it. */
  readonly life: number
  readonly content: Buffer
}

type Conversation = {
  readonly host: string
  readonly act: Act
  readonly at: number
  readonly life: number
  transaction: number
  /** It will never say anything again. */
  silent: boolean
}

const GOOD: Act = { do: 'good' }
/** Larger contents are noted by their hash alone. */
const KEPT_BYTES = 20_000

export type HostsOptions = {
  plans(address: string): HostPlan | undefined
  order(): number
  life(): number
  /** Called before a command is answered. */
  onCommand(): void
  /** Called when a copy was taken, with what the host is about to say. */
  onTaken(say: () => void): void
}

/** Every mail host of a world: one listener, and behind each address of 127.0.0.0/8 another plan. */
export class ScenarioHosts implements AsyncDisposable {
  readonly copies: Copy[] = []
  /** Grows with everything that a peer says or hears. */
  activity = 0
  readonly #options: HostsOptions
  readonly #talks = new Map<MxSession, Conversation>()
  readonly #used = new Map<string, number>()
  /** What a host remembers of an address it turned away. */
  readonly #seen = new Set<string>()
  #mx: ScriptedMx | null = null

  private constructor(options: HostsOptions) {
    this.#options = options
  }

  static async open(options: HostsOptions): Promise<ScenarioHosts> {
    const hosts = new ScenarioHosts(options)
    hosts.#mx = await scriptedMx({ host: '0.0.0.0', behaviour: hosts.#script(), name: 'mx.world.test' })
    return hosts
  }

  get port(): number {
    return this.#mx!.port
  }

  /** Connections whose host has fallen silent for ever. */
  get silent(): number {
    let count = 0
    for (const [session, talk] of this.#talks) {
      if (session.closed) this.#talks.delete(session)
      else if (talk.silent) count += 1
    }
    return count
  }

  /** The process at the other end is gone. */
  cutAll(): void {
    for (const session of this.#talks.keys()) {
      session.hang()
      session.reset()
    }
    this.#talks.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mx?.[Symbol.asyncDispose]()
  }

  #script(): Script {
    return {
      tls: false,
      connect: (s) => {
        this.#meet(s)
        return this.#step(s, 'connect', '')
      },
      ehlo: (s, line) => this.#step(s, 'ehlo', line),
      mail: (s, line) => {
        const talk = this.#talks.get(s)
        if (talk !== undefined) talk.transaction += 1
        return this.#step(s, 'mail', line)
      },
      rcpt: (s, to) => this.#step(s, 'rcpt', to),
      data: (s, line) => this.#step(s, 'data', line),
      body: (s) => {
        this.activity += 1
        if (this.#actOf(s)?.do !== 'drop-in-content' || s.body.length < 100) return AS_USUAL
        s.reset()
        return undefined
      },
      dot: (s) => this.#step(s, 'dot', ''),
      rset: (s, line) => this.#step(s, 'rset', line),
      quit: (s, line) => this.#step(s, 'quit', line),
      onChunk: () => {
        this.activity += 1
      },
    }
  }

  #meet(s: MxSession): void {
    const host = s.localAddress
    const plan = this.#options.plans(host)
    const n = this.#used.get(host) ?? 0
    this.#used.set(host, n + 1)
    const planned = plan?.acts[n]
    this.#talks.set(s, {
      host,
      act: planned?.act ?? plan?.rest ?? GOOD,
      at: planned?.at ?? 1,
      life: this.#options.life(),
      transaction: 0,
      silent: false,
    })
  }

  /** What this host does now: its act where it strikes, else nothing of its own. */
  #actOf(s: MxSession): Act | undefined {
    const talk = this.#talks.get(s)
    if (talk === undefined) return undefined
    return talk.transaction === 0 || talk.transaction === talk.at ? talk.act : GOOD
  }

  #step(s: MxSession, stage: string, argument: string): ReturnType<Behaviour> {
    this.activity += 1
    const talk = this.#talks.get(s)
    if (talk === undefined) return undefined
    this.#options.onCommand()
    const act = this.#actOf(s) ?? GOOD
    if (act.do === 'fault') {
      const script = faulty(act.stage, act.fault)
      const step = (script as Record<string, Behaviour | undefined>)[stage]
      if (step !== undefined) {
        if (act.fault === 'silence' || act.fault === 'garbage') talk.silent = true
        return step(s, argument)
      }
    }
    if (stage === 'rcpt') return this.#recipient(act, talk, argument)
    if (stage === 'data' && act.do === 'early') {
      s.expectContent()
      s.raw('354 go on\r\n250 2.0.0 taken already\r\n')
      return undefined
    }
    return stage === 'dot' ? this.#dot(s, act, talk) : AS_USUAL
  }

  #recipient(act: Act, talk: Conversation, to: string): ReturnType<Behaviour> {
    const first = (): boolean => {
      const key = `${talk.host} ${to}`
      if (this.#seen.has(key)) return false
      this.#seen.add(key)
      return true
    }
    switch (act.do) {
      case 'greylist':
        return first() ? '450 4.7.1 greylisted, come again' : AS_USUAL
      case 'mailbox-full':
        return '452 4.2.2 mailbox full'
      case 'user-unknown':
        return '550 5.1.1 no such user'
      case 'blocked':
        return '554 5.7.1 your IP address is blocked'
      case 'partial': {
        const remainder = createHash('sha256').update(to).digest()[0]! % 3
        if (remainder === 1) return '550 5.1.1 no such user'
        return remainder === 2 && first() ? '452 4.5.3 too many recipients' : AS_USUAL
      }
      default:
        return AS_USUAL
    }
  }

  #dot(s: MxSession, act: Act, talk: Conversation): undefined {
    switch (act.do) {
      case 'take-drop':
        return this.#take(s, talk, () => s.reset())
      case 'take-close':
        return this.#take(s, talk, () => s.close())
      case 'take-stall':
        return this.#take(s, talk, () => {
          talk.silent = true
          s.hang()
        })
      case 'extra':
        return this.#take(s, talk, () => s.say('250 2.0.0 taken', '250 2.0.0 extra', '550 5.0.0 extra'))
      case 'take-421':
        return this.#take(s, talk, () => {
          s.say('250 2.0.0 taken', '421 4.3.0 closing after message')
          s.close()
        })
      case 'early':
        if (act.after === 554) return s.say('554 5.7.1 refused after all')
        return this.#take(s, talk, () => s.say('250 2.0.0 taken'))
      case 'spam':
        return s.say('554 5.7.1 message looks like spam')
      case 'dot-later':
        return s.say('451 4.3.0 try later')
      default:
        return this.#take(s, talk, () => s.say('250 2.0.0 taken'))
    }
  }

  #take(s: MxSession, { life }: Conversation, say: () => void): undefined {
    const { body, recipients } = s
    const order = this.#options.order()
    const messageId = /^Message-ID: *(\S+)/im.exec(body.subarray(0, 4000).toString('latin1'))?.[1] ?? ''
    const sha256 = createHash('sha256').update(body).digest('hex')
    const content = body.length <= KEPT_BYTES ? body : Buffer.alloc(0)
    for (const recipient of recipients) this.copies.push({ order, recipient, messageId, sha256, life, content })
    this.#options.onTaken(say)
    return undefined
  }
}
