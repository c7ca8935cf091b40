import fc from 'fast-check'
import { FAULTS, STAGES } from '#world'

// What can happen in a scenario, as values that a seed makes again: mail, hosts, names, the steps of people, and crashes.

/** What a host does with one message of a connection; before and after it is a good host. */
export type Act =
  | { readonly do: 'good' }
  /** Of the 63 of docs/outcomes.md. */
  | { readonly do: 'fault'; readonly stage: (typeof STAGES)[number]; readonly fault: (typeof FAULTS)[number] }
  /** Takes the message, and the answer never comes. */
  | { readonly do: 'take-drop' | 'take-stall' | 'take-close' }
  /** The connection ends while the content comes in. */
  | { readonly do: 'drop-in-content' }
  /** 250 before the dot, and `250` or `554` after it. */
  | { readonly do: 'early'; readonly after: 250 | 554 }
  /** More answers than were asked for. */
  | { readonly do: 'extra' }
  /** 250, and 421 right behind it. */
  | { readonly do: 'take-421' }
  /** Each recipient another answer: 250, 550, 452. */
  | { readonly do: 'partial' }
  | { readonly do: 'greylist' | 'mailbox-full' | 'user-unknown' | 'blocked' | 'spam' | 'dot-later' }

export type HostPlan = {
  /** One a connection, in order; then good. Each strikes at this message of its connection. */
  readonly acts: readonly { readonly act: Act; readonly at: 1 | 2 }[]
  /** What it does when those are used up. */
  readonly rest: Act
}

export type DnsPlan =
  | 'mx'
  | 'two-mx'
  | 'implicit'
  | 'nxdomain'
  | 'null-mx'
  | 'servfail'
  | 'silence'
  | 'garbage'
  | 'no-address'
  | 'refused'

export type DomainPlan = {
  readonly dns: DnsPlan
  /** Broken names come right after so many minutes; null: never. */
  readonly mendsAfterMin: number | null
  readonly hosts: readonly HostPlan[]
}

export type MessagePlan = {
  readonly atMin: number
  readonly recipients: readonly {
    readonly domain: number
    readonly notify: readonly ('never' | 'success' | 'failure' | 'delay')[] | null
  }[]
  readonly priority: 'urgent' | 'high' | 'normal' | 'low'
  readonly sendAfterMin: number
  readonly nullSender: boolean
  readonly bytes: number
  /** Of the providers of the world. */
  readonly route: 'own' | 'relay-a' | 'relay-b' | null
}

export type Step = {
  readonly atMin: number
  readonly do: 'hold' | 'release' | 'cancel' | 'retry' | 'suppress'
  readonly message: number
  readonly recipient: number
}

export type Scenario = {
  readonly domains: readonly DomainPlan[]
  readonly messages: readonly MessagePlan[]
  readonly steps: readonly Step[]
}

/** When the process is gone: at a time, or in the middle of what a host hears and does. */
export type Crash =
  | { readonly at: 'minute'; readonly n: number }
  | { readonly at: 'command'; readonly n: number }
  | { readonly at: 'taken'; readonly n: number; readonly answered: boolean }

/** Scenarios that share one store, one process and one clock. */
export type WorldPlan = {
  readonly scenarios: readonly Scenario[]
  readonly crashes: readonly Crash[]
  /** Ordered stops with a new start, minutes. */
  readonly stops: readonly number[]
  readonly relays: readonly [HostPlan, HostPlan]
  readonly relayFirst: boolean
  readonly lifetimeMin: number
  readonly maxRecipients: 1 | 5
}

const LIFETIMES_MIN = [45, 180, 480] as const

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Act>({ do: 'good' }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      stage: fc.constantFrom(...STAGES),
      fault: fc.constantFrom(...FAULTS),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.constantFrom<Act>({ do: 'take-drop' }, { do: 'take-stall' }, { do: 'take-close' }),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Act>(
      { do: 'drop-in-content' },
      { do: 'early', after: 250 },
      { do: 'early', after: 554 },
      { do: 'extra' },
      { do: 'take-421' },
      { do: 'partial' },
    ),
  },
  {
    weight: 4,
    arbitrary: fc.constantFrom<Act>(
      { do: 'greylist' },
      { do: 'mailbox-full' },
      { do: 'user-unknown' },
      { do: 'spam' },
      { do: 'dot-later' },
    ),
  },
  { weight: 1, arbitrary: fc.constant<Act>({ do: 'blocked' }) },
)

const host: fc.Arbitrary<HostPlan> = fc.record({
  acts: fc.array(fc.record({ act, at: fc.constantFrom(1 as const, 1 as const, 2 as const) }), { maxLength: 5 }),
  rest: fc.oneof({ weight: 3, arbitrary: fc.constant<Act>({ do: 'good' }) }, { weight: 1, arbitrary: act }),
})

const domain: fc.Arbitrary<DomainPlan> = fc.record({
  dns: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom<DnsPlan>('mx', 'mx', 'two-mx', 'implicit') },
    {
      weight: 2,
      arbitrary: fc.constantFrom<DnsPlan>(
        ...(['nxdomain', 'null-mx', 'servfail', 'silence', 'garbage', 'no-address', 'refused'] as const),
      ),
    },
  ),
  mendsAfterMin: fc.option(fc.integer({ min: 1, max: 120 })),
  hosts: fc.array(host, { minLength: 2, maxLength: 2 }),
})

function scenario(lifetimeMin: number): fc.Arbitrary<Scenario> {
  const minute = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: lifetimeMin + 10 }))
  return fc.record({
    domains: fc.array(domain, { minLength: 1, maxLength: 3 }),
    messages: fc.array(
      fc.record({
        atMin: fc.integer({ min: 0, max: 10 }),
        recipients: fc.array(
          fc.record({
            domain: fc.nat({ max: 2 }),
            notify: fc.option(fc.constantFrom(['never'], ['failure'], ['failure', 'delay'], ['success', 'failure'])),
          }) as fc.Arbitrary<MessagePlan['recipients'][number]>,
          { minLength: 1, maxLength: 4 },
        ),
        priority: fc.constantFrom('urgent' as const, 'high' as const, 'normal' as const, 'low' as const),
        sendAfterMin: fc.constantFrom(0, 0, 0, 7, 90),
        nullSender: fc.boolean(),
        bytes: fc.constantFrom(300, 300, 5000, 40_000, 200_000),
        route: fc.constantFrom(null, null, null, 'own' as const, 'relay-a' as const, 'relay-b' as const),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    steps: fc.array(
      fc.record({
        atMin: minute,
        do: fc.constantFrom(...(['hold', 'release', 'cancel', 'retry', 'suppress'] as const)),
        message: fc.nat({ max: 2 }),
        recipient: fc.nat({ max: 3 }),
      }),
      { maxLength: 4 },
    ),
  })
}

/** So many scenarios that share a process, with its crashes. */
export function worldPlan(scenarios: number): fc.Arbitrary<WorldPlan> {
  return fc.constantFrom(...LIFETIMES_MIN).chain((lifetimeMin) =>
    fc.record({
      scenarios: fc.array(scenario(lifetimeMin), { minLength: scenarios, maxLength: scenarios, size: 'max' }),
      crashes: fc.array(
        fc.oneof(
          fc.record({ at: fc.constant('minute' as const), n: fc.integer({ min: 0, max: lifetimeMin }) }),
          fc.record({ at: fc.constant('command' as const), n: fc.integer({ min: 1, max: scenarios * 20 }) }),
          fc.record({
            at: fc.constant('taken' as const),
            n: fc.integer({ min: 1, max: scenarios * 3 }),
            answered: fc.boolean(),
          }),
        ),
        { maxLength: 6 },
      ),
      stops: fc.array(fc.integer({ min: 0, max: lifetimeMin }), { maxLength: 1 }),
      relays: fc.tuple(host, host),
      relayFirst: fc.boolean(),
      lifetimeMin: fc.constant(lifetimeMin),
      maxRecipients: fc.constantFrom(1 as const, 1 as const, 5 as const),
    }),
  )
}
