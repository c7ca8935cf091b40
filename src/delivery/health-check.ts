import type { Provider } from '#routing'
import type { Cage, Carrier } from './carry.ts'
import { connectSmtp } from './smtp-client/connect.ts'

/** Tries a smarthost as a message would, up to the log-in: it costs nothing and shows most of what can be wrong. */
export async function checkSmarthost(
  provider: Provider,
  carrier: Carrier,
  cage: Cage | null,
  signal: AbortSignal,
): Promise<{ readonly ok: boolean; readonly detail: string }> {
  const options = carrier.smarthostOptions(provider.smarthost!)
  const caged =
    cage === null
      ? {}
      : {
          ...{ address: cage.relay.host, port: cage.relay.port, allow: [cage.relay.host] },
          tls: { mode: 'opportunistic' as const },
        }
  const { auth: _auth, ...without } = options
  const result = await connectSmtp({ ...(cage === null ? options : without), ...caged, signal })
  if (!result.ok) {
    const { stage, reason, reply } = result.failure
    if (reason.startsWith('special-address'))
      return { ok: false, detail: `${reason}: add the address of ${options.host} to delivery.allow_networks` }
    return { ok: false, detail: `${stage}: ${reason}${reply === null ? '' : ` (${reply.code} ${reply.text})`}` }
  }
  const { tls } = result.connection
  await result.connection.quit()
  return { ok: true, detail: tls === '' ? 'connected in clear text' : `connected with ${tls}` }
}
