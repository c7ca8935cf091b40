import { tlsaText } from './dane.ts'
import type { Resolved } from './destinations.ts'
import { policyText } from './tls-policy.ts'

/** What holds for a domain now, for people. `why_not`: it has no hosts that mail could go to. */
export type TlsPolicyView = {
  readonly why_not: string | null
  readonly mx_validated: boolean
  readonly mta_sts: { readonly id: string; readonly mode: string; readonly mx: readonly string[] } | null
  readonly hosts: readonly {
    readonly host: string
    readonly policy: string
    readonly tlsa: readonly string[]
    readonly detail: string
  }[]
}

export function tlsPolicyView(resolved: Resolved): TlsPolicyView {
  if (resolved.kind !== 'destination')
    return { why_not: resolved.reason, mx_validated: false, mta_sts: null, hosts: [] }
  const { tls, hosts } = resolved.destination
  return {
    why_not: null,
    mx_validated: tls.mxSecure,
    mta_sts: tls.sts === null ? null : { id: tls.sts.id, mode: tls.sts.policy.mode, mx: tls.sts.policy.mx },
    hosts: hosts.map(({ name }) => {
      const { policy, dane } = tls.hosts.get(name) ?? { policy: null, dane: null }
      return {
        host: name,
        policy: policy === null ? '' : policyText(policy),
        tlsa: dane?.kind === 'records' || dane?.kind === 'unusable' ? dane.records.map(tlsaText) : [],
        detail: policy?.level === 'refuse' ? policy.detail : '',
      }
    }),
  }
}
