import type { Verb } from './verb.ts'

export type VerbEntry = { readonly name: string; readonly summary: string; load(): Promise<Verb> }

/** Every verb with its line of --help; the file of a verb is loaded when it is called. */
export const VERBS: readonly VerbEntry[] = [
  entry('serve', 'run the mail server in the foreground', async () => (await import('./verbs/serve.ts')).serve),
  entry('status', 'show the health of the running daemon', async () => (await import('./verbs/standing.ts')).status),
  entry('send', 'hand in a message', async () => (await import('./verbs/send.ts')).send),
  entry(
    'sendmail',
    'take mail of local programs, as sendmail does',
    async () => (await import('./verbs/sendmail.ts')).sendmail,
  ),
  entry('queue', 'list and steer the mail that is kept', async () => (await import('./verbs/queue.ts')).queue),
  entry('trace', 'tell what happened to a message', async () => (await import('./verbs/trace.ts')).trace),
  entry('why', 'tell why a message waits, and until when', async () => (await import('./verbs/why.ts')).why),
  entry('domain', 'sending domains and their keys', async () => (await import('./verbs/domain.ts')).domain),
  entry('dns', 'the DNS records of the sending domains', async () => (await import('./verbs/dns.ts')).dns),
  entry('dkim', 'change the keys that sign', async () => (await import('./verbs/dkim.ts')).dkim),
  entry(
    'credential',
    'user names and passwords for SMTP',
    async () => (await import('./verbs/credential.ts')).credential,
  ),
  entry('token', 'bearer tokens of the HTTP API', async () => (await import('./verbs/token.ts')).token),
  entry('provider', 'relays that mail is handed over to', async () => (await import('./verbs/provider.ts')).provider),
  entry('suppress', 'who must not be written to again', async () => (await import('./verbs/suppress.ts')).suppress),
  entry('bounce', 'read mails that came back', async () => (await import('./verbs/bounce.ts')).bounce),
  entry('reply', 'classify SMTP replies', async () => (await import('./verbs/reply.ts')).reply),
  entry('tls', 'how mail to recipient domains is secured', async () => (await import('./verbs/tls.ts')).tls),
  entry('warmup', 'the warm-up of source addresses', async () => (await import('./verbs/standing.ts')).warmup),
  entry('reputation', 'how own delivery stands', async () => (await import('./verbs/standing.ts')).reputation),
  entry('config', 'check, explain and show the configuration', async () => (await import('./verbs/config.ts')).config),
  entry('key', 'the master key: write it down, rotate, recover', async () => (await import('./verbs/key.ts')).key),
  entry('doctor', 'look at all that delivery depends on', async () => (await import('./verbs/doctor.ts')).doctor),
  entry('db', 'check, back up and restore the store', async () => (await import('./verbs/db.ts')).db),
  entry('version', 'show the version', async () => (await import('./verbs/version.ts')).version),
]

function entry(name: string, summary: string, load: () => Promise<Verb>): VerbEntry {
  return { name, summary, load }
}
