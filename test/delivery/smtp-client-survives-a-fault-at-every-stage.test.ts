import t from 'tap'
import { systemClock } from '#base'
import { FAULTS, type Fault, type FaultStage, fastClock, faulty, STAGES, scriptedMx } from '#world'
import { dial, message, said } from './smtp-client-harness.ts'

/**
 * What comes of a fault at a stage, written down before it was ever run.
 * `no …` no connection came about; otherwise the recipient's outcome, and `, kept` when the connection may carry another message.
 * `lost` stands for a connection that was closed or reset: which of the two is seen depends on what was still under way.
 */
const EXPECTED: Readonly<Record<FaultStage, Readonly<Record<Fault, string>>>> = {
  connect: {
    '421': 'no banner banner-refused',
    '4yz': 'no banner banner-refused',
    '5yz': 'no banner banner-refused',
    close: 'no banner lost',
    rst: 'no banner lost',
    garbage: 'no banner protocol-error',
    silence: 'no banner banner-timeout',
  },
  ehlo: {
    '421': 'no ehlo ehlo-refused',
    '4yz': 'no ehlo ehlo-refused',
    '5yz': 'delivered, kept',
    close: 'no ehlo lost',
    rst: 'no ehlo lost',
    garbage: 'no ehlo protocol-error',
    silence: 'no ehlo ehlo-timeout',
  },
  starttls: {
    '421': 'no starttls tls-refused',
    '4yz': 'no starttls tls-refused',
    '5yz': 'no starttls tls-refused',
    close: 'no starttls lost',
    rst: 'no starttls lost',
    garbage: 'no starttls protocol-error',
    silence: 'no starttls starttls-timeout',
  },
  mail: {
    '421': 'deferred mail service-closing 4.3.2 infrastructure',
    '4yz': 'deferred mail mail-deferred 4.3.0, kept',
    '5yz': 'refused mail mail-refused 5.3.0, kept',
    close: 'deferred mail lost 4.4.2 infrastructure',
    rst: 'deferred mail lost 4.4.2 infrastructure',
    garbage: 'deferred mail protocol-error 4.5.0 infrastructure',
    silence: 'deferred mail mail-timeout 4.4.2 infrastructure',
  },
  rcpt: {
    '421': 'deferred rcpt service-closing 4.3.2 infrastructure',
    '4yz': 'deferred rcpt rcpt-deferred 4.3.0, kept',
    '5yz': 'refused rcpt rcpt-refused 5.3.0, kept',
    close: 'deferred rcpt lost 4.4.2 infrastructure',
    rst: 'deferred rcpt lost 4.4.2 infrastructure',
    garbage: 'deferred rcpt protocol-error 4.5.0 infrastructure',
    silence: 'deferred rcpt rcpt-timeout 4.4.2 infrastructure',
  },
  data: {
    '421': 'deferred data service-closing 4.3.2 infrastructure',
    '4yz': 'deferred data data-deferred 4.3.0, kept',
    '5yz': 'refused data data-refused 5.3.0, kept',
    close: 'deferred data lost 4.4.2 infrastructure',
    rst: 'deferred data lost 4.4.2 infrastructure',
    garbage: 'deferred data protocol-error 4.5.0 infrastructure',
    silence: 'deferred data data-timeout 4.4.2 infrastructure',
  },
  dot: {
    '421': 'deferred dot service-closing 4.3.2',
    '4yz': 'deferred dot dot-deferred 4.3.0, kept',
    '5yz': 'refused dot dot-refused 5.3.0, kept',
    close: 'uncertain dot lost',
    rst: 'uncertain dot lost',
    garbage: 'uncertain dot protocol-error',
    silence: 'uncertain dot dot-timeout',
  },
  rset: {
    '421': 'refused rcpt rcpt-refused 5.1.1',
    '4yz': 'refused rcpt rcpt-refused 5.1.1',
    '5yz': 'refused rcpt rcpt-refused 5.1.1',
    close: 'refused rcpt rcpt-refused 5.1.1',
    rst: 'refused rcpt rcpt-refused 5.1.1',
    garbage: 'refused rcpt rcpt-refused 5.1.1',
    silence: 'refused rcpt rcpt-refused 5.1.1',
  },
  quit: {
    '421': 'delivered, kept',
    '4yz': 'delivered, kept',
    '5yz': 'delivered, kept',
    close: 'delivered, kept',
    rst: 'delivered, kept',
    garbage: 'delivered, kept',
    silence: 'delivered, kept',
  },
}

/** A reset also throws away what the peer said just before, so with pipelining it may show at an earlier stage. */
const EARLIER: Readonly<Record<string, readonly string[]>> = { rcpt: ['mail'], data: ['mail', 'rcpt'] }

const PHASE: Readonly<Record<FaultStage, string>> = {
  ...{ connect: 'bannerMs', ehlo: 'ehloMs', starttls: 'tlsMs', mail: 'mailMs', rcpt: 'rcptMs', data: 'dataMs' },
  ...{ dot: 'dotMs', rset: 'dotMs', quit: 'dotMs' },
}
const SILENCE_MS = 700

t.jobs = 8
for (const pipelining of [true, false]) {
  for (const stage of STAGES) {
    for (const kind of FAULTS) {
      const name = `${kind} at ${stage}, ${pipelining ? 'pipelined' : 'one by one'}`
      void t.test(name, { buffered: true }, async (t) => {
        const offers = pipelining ? ['PIPELINING', 'ENHANCEDSTATUSCODES'] : ['ENHANCEDSTATUSCODES']
        await using mx = await scriptedMx({ behaviour: faulty(stage, kind, offers) })
        const quick = kind === 'silence' ? { [PHASE[stage]]: SILENCE_MS } : {}
        // The client's own short limits for RSET and QUIT cannot be set; they are waited for ten times as fast.
        const clock = kind === 'silence' && (stage === 'rset' || stage === 'quit') ? fastClock(10) : systemClock
        const mode = stage === 'starttls' ? 'opportunistic' : 'off'
        const result = await dial(mx.port, { clock, tls: { mode }, deadlines: quick })
        const expected = EXPECTED[stage][kind]
        if (!result.ok) {
          const outcome = `no ${result.failure.stage} ${even(result.failure.reason)}`
          // A reset may come before our side knows that it was connected.
          t.ok(
            outcome === expected || (kind === 'rst' && outcome === 'no connect lost'),
            `${outcome}, expected ${expected}`,
          )
          return
        }
        const sent = await result.connection.send(message())
        const outcome = even(said(sent.results[0])) + (sent.reusable ? ', kept' : '')
        const allowed =
          kind === 'rst' && pipelining
            ? [expected, ...(EARLIER[stage] ?? []).map((one) => expected.replace(stage, one))]
            : [expected]
        t.ok(allowed.includes(outcome), `${outcome}, expected ${allowed.join(' or ')}`)
        await result.connection.quit()
        t.equal(result.connection.usable, false)
        const took = outcome.startsWith('delivered') ? 1 : 0
        t.equal(mx.taken.length, took, 'what the host took')
      })
    }
  }
}

function even(outcome: string): string {
  return outcome.replace(/connection-(?:closed|reset|error)/, 'lost')
}
