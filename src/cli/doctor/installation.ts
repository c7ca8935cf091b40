import { Fault, messageOf } from '#base'
import type { InspectionJson } from '#domains'
import { bad, type Check, good, type Patient, skipped } from './check.ts'

/** Whether the daemon runs and is well. */
export function daemon({ status, config }: Patient): Check[] {
  if (status === null)
    return [bad('daemon', 'warn', 'the daemon is not running', 'Start it: systemctl start relevo, or relevo serve')]
  if (!status.ready)
    return [bad('daemon', 'fail', `the daemon is not ready: ${status.problems.join('; ')}`, 'See its log.')]
  if (status.mode !== config.mode)
    return [
      bad(
        'daemon',
        'warn',
        `the daemon runs in ${status.mode} mode, the configuration says ${config.mode}`,
        'Restart it: systemctl restart relevo',
      ),
    ]
  return [good('daemon', `version ${status.version} runs in ${status.mode} mode`)]
}

/** The DNS records of each sending domain, in one line each. */
export async function domains({ api, status, config }: Patient): Promise<Check[]> {
  if (status === null)
    return [skipped('domains', 'looked at while the daemon runs; without it: relevo dns verify DOMAIN')]
  if (config.mode === 'sandbox')
    return [skipped('domains', 'in sandbox mode no zone is looked at by itself: relevo dns verify DOMAIN')]
  const { domains: list } = await api.get<{ domains: readonly { name: string; active: boolean }[] }>('/domains')
  if (list.length === 0)
    return [bad('domains', 'warn', 'there is no sending domain', 'Add one: relevo domain add DOMAIN')]
  const found: Check[] = []
  for (const { name, active } of list) {
    if (!active) continue
    try {
      const told = await api.get<InspectionJson>(`/domains/${encodeURIComponent(name)}/dns-records`, { lookup: true })
      const open = told.records.filter(({ need, verdict }) => need === 'required' && verdict !== 'ok')
      found.push(
        told.ready
          ? good('domains', `${name}: all required records stand`)
          : bad(
              'domains',
              'fail',
              `${name}: not in order: ${open.map((record) => `${record.type} ${record.name}`).join(', ') || 'its zone'}`,
              `See what to publish: relevo dns verify ${name}`,
            ),
      )
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      found.push(bad('domains', 'warn', `${name}: ${messageOf(error)}`, `Try: relevo dns verify ${name}`))
    }
  }
  return found
}
