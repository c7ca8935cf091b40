/** What the round trip saw, as plain data read back from the sink, the store, the wire and an independent verifier. */
export type Observations = {
  readonly readyz: { readonly status: number; readonly mode: string; readonly ready: boolean }
  readonly submitted: {
    readonly reply: string
    readonly id: string
    readonly protocol: string
    readonly verified: boolean
  }
  readonly kept: {
    readonly id: string
    readonly state: string
    readonly sandbox: boolean
    readonly sendingDomain: string
  }
  readonly sunk: {
    readonly count: number
    readonly door: string
    readonly mailFrom: string
    readonly bodySha256: string
  }
  readonly sent: { readonly bodySha256: string; readonly messageId: string; readonly sinkMessageId: string }
  readonly signatures: readonly { readonly algorithm: string; readonly domain: string; readonly result: string }[]
  readonly http: { readonly status: number; readonly result: string; readonly state: string }
  readonly bounced: {
    readonly state: string
    readonly class: string
    readonly hard: boolean | null
    readonly outcomes: number
  }
  readonly suppressed: { readonly reply: string; readonly entries: number; readonly reason: string }
  readonly lateBounce: { readonly state: string; readonly event: string; readonly suppressed: boolean }
  readonly forged: { readonly reply: string; readonly entries: number }
  readonly greylisted: { readonly state: string; readonly class: string; readonly until: string | null }
  readonly handedOver: {
    readonly verdict: string
    readonly google: string
    readonly googleProvider: string
    readonly yahoo: string
  }
  readonly stopped: { readonly exitCode: number | null; readonly storeOk: boolean }
}

type Fact = {
  readonly name: keyof Observations | string
  readonly text: (seen: Observations) => string
  readonly holds: (seen: Observations) => boolean
}

const RETURN_PATH = /^[a-z2-7]{34}@bounces\.quickstart\.test$/

/** Every line of the round trip and when it holds. */
export const FACTS: readonly Fact[] = [
  {
    name: 'readyz',
    text: ({ readyz }) => `it takes mail, in ${readyz.mode} mode (/readyz answers ${readyz.status})`,
    holds: ({ readyz }) => readyz.status === 200 && readyz.ready && readyz.mode === 'sandbox',
  },
  {
    name: 'submitted',
    text: ({ submitted }) =>
      `submitted with STARTTLS and AUTH, certificate verified, ${submitted.protocol}: ${submitted.reply}`,
    holds: ({ submitted }) =>
      submitted.verified &&
      submitted.id !== '' &&
      submitted.reply === `250 2.0.0 queued as ${submitted.id}` &&
      /^TLSv1\.[23]$/.test(submitted.protocol),
  },
  {
    name: 'kept',
    text: ({ kept }) => `kept as ${kept.id} for ${kept.sendingDomain}, sandbox, and now ${kept.state}`,
    holds: ({ kept, submitted }) =>
      kept.id === submitted.id && kept.sandbox && kept.state === 'sent' && kept.sendingDomain === 'quickstart.test',
  },
  {
    name: 'delivered once',
    text: ({ sunk, sent }) =>
      `delivered once to the sink's ${sunk.door} door, Message-ID ${sent.sinkMessageId}, body sha256 ${sunk.bodySha256.slice(0, 16)} as sent`,
    holds: ({ sunk, sent }) =>
      sunk.count === 1 &&
      sunk.door === 'mx' &&
      sunk.bodySha256 === sent.bodySha256 &&
      sent.sinkMessageId === sent.messageId,
  },
  {
    name: 'return path',
    text: ({ sunk }) => `its return path is a signed token: ${sunk.mailFrom}`,
    holds: ({ sunk }) => RETURN_PATH.test(sunk.mailFrom),
  },
  {
    name: 'rsa',
    text: ({ signatures }) => `mailauth says of the RSA signature: ${resultOf(signatures, 'rsa-sha256')}`,
    holds: ({ signatures }) => resultOf(signatures, 'rsa-sha256') === 'pass d=quickstart.test',
  },
  {
    name: 'ed25519',
    text: ({ signatures }) => `mailauth says of the Ed25519 signature: ${resultOf(signatures, 'ed25519-sha256')}`,
    holds: ({ signatures }) => resultOf(signatures, 'ed25519-sha256') === 'pass d=quickstart.test',
  },
  {
    name: 'http',
    text: ({ http }) => `by HTTP: ${http.status}, recipient ${http.result}, and now ${http.state}`,
    holds: ({ http }) => http.status === 202 && http.result === 'queued' && http.state === 'sent',
  },
  {
    name: 'bounced',
    text: ({ bounced }) => `an unknown user: ${bounced.state} (${bounced.class}), with ${bounced.outcomes} outcome`,
    holds: ({ bounced }) =>
      bounced.state === 'bounced' &&
      bounced.class === 'user-unknown' &&
      bounced.hard === true &&
      bounced.outcomes === 1,
  },
  {
    name: 'suppressed',
    text: ({ suppressed }) =>
      `the address is suppressed (${suppressed.reason}), and refused when written to again: ${suppressed.reply.slice(0, 60)}…`,
    holds: ({ suppressed }) =>
      suppressed.entries === 1 &&
      suppressed.reason === 'hard-bounce' &&
      /^550 5\.7\.1 .* is suppressed since /.test(suppressed.reply),
  },
  {
    name: 'late bounce',
    text: ({ lateBounce }) =>
      `a bounce that came back to the return path: ${lateBounce.event}; the outcome stays ${lateBounce.state}, the address is suppressed`,
    holds: ({ lateBounce }) =>
      lateBounce.state === 'sent' && lateBounce.event === 'late-bounce' && lateBounce.suppressed,
  },
  {
    name: 'forged',
    text: ({ forged }) => `a forged return path is refused and changes nothing: ${forged.reply}`,
    holds: ({ forged }) => forged.reply.startsWith('550 5.1.1') && forged.entries === 0,
  },
  {
    name: 'waits',
    text: ({ greylisted }) => `a greylisting host: ${greylisted.state} (${greylisted.class}) until ${greylisted.until}`,
    holds: ({ greylisted }) =>
      greylisted.state === 'deferred' && greylisted.class === 'greylist' && greylisted.until !== null,
  },
  {
    name: 'paused',
    text: ({ handedOver }) => `after refusals of our address at google, own delivery there is ${handedOver.verdict}`,
    holds: ({ handedOver }) => handedOver.verdict === 'paused',
  },
  {
    name: 'handed over',
    text: ({ handedOver }) =>
      `the next mail to google went by ${handedOver.googleProvider} (the sink's ${handedOver.google} door), to yahoo by the ${handedOver.yahoo} door as before`,
    holds: ({ handedOver }) =>
      handedOver.google === 'relay' && handedOver.googleProvider === 'net' && handedOver.yahoo === 'mx',
  },
  {
    name: 'stopped',
    text: ({ stopped }) => `stopped in good order (exit ${stopped.exitCode}), the store checked`,
    holds: ({ stopped }) => stopped.exitCode === 0 && stopped.storeOk,
  },
]

function resultOf(signatures: Observations['signatures'], algorithm: string): string {
  const found = signatures.find((one) => one.algorithm === algorithm)
  return found === undefined ? 'there is none' : `${found.result} d=${found.domain}`
}
