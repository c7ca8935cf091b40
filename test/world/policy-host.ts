import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createSecureContext } from 'node:tls'
import { type CertificateKind, certificate } from './certificates.ts'

/** What `https://mta-sts.<domain>/.well-known/mta-sts.txt` answers. */
export type PolicyAnswer = {
  readonly text: string
  readonly status?: number
  readonly type?: string
  readonly certificate?: CertificateKind
  /** Names in the certificate instead of that of the policy host. */
  readonly names?: readonly string[]
  /** Never answers. */
  readonly silent?: true
  readonly headers?: Readonly<Record<string, string>>
}

export interface PolicyHost extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** Domains whose policy was asked for, in order. */
  readonly asked: readonly string[]
  /** Puts, replaces or (null) removes the policy of a domain. */
  set(domain: string, answer: PolicyAnswer | null): void
}

/** The policy hosts of all domains of the test's world on one port of 127.0.0.1, each with a certificate of its own. */
export async function openPolicyHost(answers: Readonly<Record<string, PolicyAnswer>> = {}): Promise<PolicyHost> {
  const known = new Map(Object.entries(answers))
  const asked: string[] = []
  const domainOf = (name: string): string => name.replace(/^mta-sts\./, '')
  const server = createServer(
    {
      SNICallback: (name, done) => {
        const answer = known.get(domainOf(name))
        certificate(answer?.names ?? [name], answer?.certificate).then(
          ({ key, cert }) => done(null, createSecureContext({ key, cert })),
          (error: Error) => done(error),
        )
      },
    },
    (request, response) => {
      const domain = domainOf(request.headers.host?.split(':', 1)[0] ?? '')
      asked.push(domain)
      const answer = known.get(domain)
      if (answer?.silent === true) return
      const { text = 'not here', status = 200, type = 'text/plain', headers = {} } = answer ?? { status: 404 }
      response.writeHead(request.url === '/.well-known/mta-sts.txt' ? status : 404, {
        'content-type': type,
        ...headers,
      })
      response.end(text)
    },
  )
  server.on('tlsClientError', () => {})
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  const { port } = server.address() as AddressInfo
  return {
    host: '127.0.0.1',
    port,
    asked,
    set(domain, answer) {
      if (answer === null) known.delete(domain)
      else known.set(domain, answer)
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}
