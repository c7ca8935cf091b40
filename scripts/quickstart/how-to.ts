import { relative } from 'node:path'
import { DOMAIN, type Running, type Secrets } from './installation.ts'

/** What to try, ready to paste. */
export function howTo({ ports, certificates, configFile, directory }: Running, secrets: Secrets): string {
  const ca = certificates.caFile
  const relevo = 'scripts/relevo'
  const config = `export RELEVO_CONFIG=${configFile}`
  return `
Relevo runs in SANDBOX mode: nothing leaves this machine, all mail goes to a built-in sink.
Stop it with Ctrl-C; its files are in ${relative(process.cwd(), directory) || directory}.

  submission  127.0.0.1:${ports.starttls} STARTTLS, 127.0.0.1:${ports.tls} TLS     user ${secrets.username}, password ${secrets.password}
  bounces     127.0.0.1:${ports.inbound}
  HTTP API    http://127.0.0.1:${ports.http}/api/email-system     token ${secrets.token}
  metrics     http://127.0.0.1:${ports.metrics}/metrics
  CA file     ${ca} (clients trust it, verification stays on)

Send a mail, by

  swaks       swaks --server localhost:${ports.starttls} --tls --tls-verify --tls-ca-path ${ca} \\
                --auth PLAIN --auth-user ${secrets.username} --auth-password '${secrets.password}' \\
                --from you@${DOMAIN} --to friend@example.org

  curl        printf 'From: you@${DOMAIN}\\nTo: friend@example.org\\nSubject: Hello\\n\\nHello.\\n' | \\
                curl --url smtp://localhost:${ports.starttls} --ssl-reqd --cacert ${ca} --user '${secrets.username}:${secrets.password}' \\
                --mail-from you@${DOMAIN} --mail-rcpt friend@example.org --upload-file -

  HTTP        curl http://127.0.0.1:${ports.http}/api/email-system/queue -H 'Authorization: Bearer ${secrets.token}' \\
                -H 'Content-Type: application/json' -d '{"from":"you@${DOMAIN}","to":"friend@example.org","subject":"Hello","text":"Hello."}'

  nodemailer  createTransport({ host: 'localhost', port: ${ports.starttls}, requireTLS: true,
                auth: { user: '${secrets.username}', pass: '${secrets.password}' },
                tls: { ca: readFileSync('${ca}') } })

The recipient's name decides what the sink does: unknown@… bounces, greylist@… waits, bounce-later@… is taken and
bounces afterwards, blocked@gmail.com refuses our address, anything else is taken.

Then look:

  ${config}
  ${relevo} queue list          what is kept and where it stands
  ${relevo} trace ID            everything that happened to a message
  ${relevo} why ID              what a message waits for
  ${relevo} suppress list       who is not written to again
  ${relevo} status              the health of everything
`
}
