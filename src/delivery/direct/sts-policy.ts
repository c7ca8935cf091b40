/** An MTA-STS policy (RFC 8461 §3.2). */
export type StsPolicy = {
  readonly mode: 'enforce' | 'testing' | 'none'
  readonly maxAgeMs: number
  /** `mx.example.com` or `*.example.com`, lower-case. */
  readonly mx: readonly string[]
}

/** RFC 8461 §3.2: at most a year. */
const MAX_AGE_SECONDS = 31_557_600
/** Hosts kept of one policy: what a domain publishes does not decide how much it costs. */
const MAX_MX = 200
const MAX_LINES = 1000
const MX = /^(?:\*\.)?(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

/** The id of the policy in the TXT records of `_mta-sts`; null when the domain has none, or more than one (RFC 8461 §3.1). */
export function stsId(texts: readonly string[]): string | null {
  const records = texts.filter((text) => /^v=STSv1[\t ]*;/.test(text))
  if (records.length !== 1) return null
  for (const field of records[0]!.split(';')) {
    const [, id] = /^[\t ]*id[\t ]*=[\t ]*([A-Za-z0-9]{1,32})[\t ]*$/.exec(field) ?? []
    if (id !== undefined) return id
  }
  return null
}

/** Reads a policy file; the text says what is wrong with it. */
export function readStsPolicy(text: string): StsPolicy | string {
  const lines = text.split(/\r?\n/, MAX_LINES)
  const seen = new Map<string, string>()
  const mx: string[] = []
  for (const line of lines) {
    if (line.trim() === '') continue
    const [, key = '', value = ''] =
      /^[\t ]*([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[\t ]*:[\t ]*(.*?)[\t ]*$/.exec(line) ?? []
    if (key === '') return `${JSON.stringify(line.slice(0, 60))} is not "key: value"`
    if (key === 'mx') mx.push(value.toLowerCase().replace(/\.$/, ''))
    // RFC 8461 §3.2: of a key that stands more than once, the first counts; what is not known is passed over.
    else if (!seen.has(key)) seen.set(key, value)
  }
  if (seen.get('version') !== 'STSv1') return 'it is not of version STSv1'
  const mode = seen.get('mode')
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none') return 'mode is not enforce, testing or none'
  const maxAge = seen.get('max_age') ?? ''
  if (!/^\d{1,10}$/.test(maxAge)) return 'max_age is not a number of seconds'
  if (mode !== 'none' && mx.length === 0) return 'it names no mx'
  if (mx.length > MAX_MX) return `it names more than ${MAX_MX} mx`
  const odd = mx.find((one) => !MX.test(one))
  if (odd !== undefined) return `mx ${JSON.stringify(odd.slice(0, 60))} is not a host name`
  return { mode, maxAgeMs: Math.min(MAX_AGE_SECONDS, Number(maxAge)) * 1000, mx }
}

/** RFC 8461 §4.1: a wildcard stands for exactly one label at the left. */
export function stsAllows(policy: StsPolicy, host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  const parent = name.slice(name.indexOf('.') + 1)
  return policy.mx.some((one) => one === name || (one.startsWith('*.') && one.slice(2) === parent))
}
