import { createServer } from 'node:net'
import { type Config, parseListen } from '#config'
import { bad, type Check, good, type Patient } from './check.ts'

/** Every address that the configuration listens on: held by the daemon, or free for it. */
export async function ports({ config, status }: Patient): Promise<Check[]> {
  const found: Check[] = []
  for (const [key, text] of listens(config)) {
    const at = parseListen(text)
    if (at === null || at.port === 0) continue
    const code = await tryToListen(at.host, at.port)
    if (code === 'EADDRINUSE') {
      if (status !== null) found.push(good('ports', `${text} (${key}) is in use, by Relevo as far as can be seen`))
      else
        found.push(
          bad(
            'ports',
            'fail',
            `${text} (${key}) is held by another program`,
            `See which with: ss -ltnp 'sport = :${at.port}'; stop it, or change ${key}.`,
          ),
        )
    } else if (code === 'EACCES')
      found.push(
        status !== null
          ? good('ports', `${text} (${key}) cannot be tried by this user`)
          : bad(
              'ports',
              'warn',
              `${text} (${key}) needs a privilege that this user lacks`,
              'The unit of systemd has it; by hand use root or CAP_NET_BIND_SERVICE.',
            ),
      )
    else if (code !== null)
      found.push(bad('ports', 'fail', `${text} (${key}): ${code}`, `Give ${key} an address that this host has.`))
    else if (status !== null)
      found.push(
        bad(
          'ports',
          'fail',
          `nobody listens on ${text} (${key}) though the daemon runs`,
          'It waits for a restart: systemctl restart relevo',
        ),
      )
    else found.push(good('ports', `${text} (${key}) is free`))
  }
  return found
}

function listens(config: Config): readonly (readonly [key: string, address: string])[] {
  const { submission, inbound, http, metrics } = config
  return [
    ...submission.starttls_listen.map((text) => ['submission.starttls_listen', text] as const),
    ...(config.tls.certificate_file === ''
      ? []
      : submission.tls_listen.map((text) => ['submission.tls_listen', text] as const)),
    ...submission.trusted_listen.map((text) => ['submission.trusted_listen', text] as const),
    ...inbound.listen.map((text) => ['inbound.listen', text] as const),
    ...http.listen.map((text) => ['http.listen', text] as const),
    ...(metrics.listen === '' ? [] : [['metrics.listen', metrics.listen] as const]),
  ]
}

/** The error's code, or null when it could be listened on (which ends at once). */
function tryToListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, ipv6Only: host.includes(':'), exclusive: true }, () =>
      server.close(() => resolve(null)),
    )
  })
}
