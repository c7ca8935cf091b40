/** One load: so many messages of this size to so many domains, over so many sessions. */
export type Case = {
  readonly name: string
  readonly messages: number
  readonly bytes: number
  readonly domains: number
  readonly sessions: number
  /** STARTTLS and AUTH PLAIN, and a connection for each message. */
  readonly onePerConnection: boolean
}

/** What is measured: a mail server that signs and delivers to the sink on port 25. */
export interface Subject {
  readonly name: string
  readonly version: string
  /** Where it takes mail: without a log-in, and with STARTTLS and AUTH. */
  readonly plainPort: number
  readonly loginPort: number
  /** Starts it empty, every process of it in the control group. */
  start(group: string): Promise<void>
  stop(): Promise<void>
  /** TXT records by which its signatures are verified. */
  keys(): ReadonlyMap<string, string>
}

export const SENDER = 'sender.test'
export const HOST = 'mail.sender.test'
export const SINK = { host: '127.0.0.2', port: 25 }
/** The mail host of *.silent.test: it never answers. */
export const SILENT = { host: '127.0.0.3', port: 25 }
export const LOGIN = { user: `app@${SENDER}`, password: 'a-long-enough-password-1' }

export function recipientDomain(n: number): string {
  return `d${n}.test`
}
