import type { WorkerModuleFactory } from '#store'

// The look-up of the hot path, in the reader thread: many addresses in one call, two index probes each.

export type CheckRequest = { readonly address: string; readonly scopes: readonly string[] }
export type Suppressed = {
  readonly address: string
  readonly scope: string
  readonly reason: string
  readonly class: string
  readonly smtpCode: string
  readonly detail: string
  readonly firstMs: number
  readonly untilMs: number | null
}

type Row = {
  address: string
  scope: string
  reason: string
  class: string
  smtp_code: string
  detail: string
  first_ms: number
  until_ms: number | null
}

const open: WorkerModuleFactory = ({ statement }) => {
  const find = statement(
    'SELECT address, scope, reason, class, smtp_code, detail, first_ms, until_ms FROM suppressions WHERE address IN (?, ?) AND (until_ms IS NULL OR until_ms > ?)',
  )
  return {
    ops: {
      'suppression.check'({
        requests,
        nowMs,
      }: {
        requests: readonly CheckRequest[]
        nowMs: number
      }): (Suppressed | null)[] {
        return requests.map(({ address, scopes }) => {
          const pattern = `*${address.slice(address.lastIndexOf('@'))}`
          for (const row of find.all(address, pattern, nowMs) as Row[])
            if (scopes.includes(row.scope))
              return {
                address: row.address,
                scope: row.scope,
                reason: row.reason,
                class: row.class,
                smtpCode: row.smtp_code,
                detail: row.detail,
                firstMs: row.first_ms,
                untilMs: row.until_ms,
              }
          return null
        })
      },
    },
  }
}

export default open
