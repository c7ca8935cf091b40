import { addressOf, type Part } from '#mail'

/** One per-recipient group of a delivery-status part (RFC 3464 §2.3), as it stands. */
export type StatusGroup = {
  readonly address: string
  readonly action: string
  readonly status: string
  readonly diagnostic: string
}

const MAX_GROUPS = 200
const MAX_VALUE = 2000
const TYPES = new Set(['message/delivery-status', 'message/global-delivery-status'])

/** The groups of all delivery-status parts; of any text that carries their fields when no part has the right type. */
export function readStatusGroups(parts: readonly Part[]): readonly StatusGroup[] {
  const ours = parts.filter((part) => !part.enclosed)
  const typed = ours.filter((part) => TYPES.has(part.type))
  const holders =
    typed.length > 0
      ? typed
      : ours.filter(
          (part) =>
            part.type !== 'message/rfc822' &&
            part.type !== 'message/global' &&
            !holdsOthers(parts, part) &&
            /^(final|original)-recipient\s*:/im.test(part.text) &&
            /^(action|status)\s*:/im.test(part.text),
        )
  return holders.flatMap((part) => groupsOf(part.text)).slice(0, MAX_GROUPS)
}

/** A container whose parts were found: its text is theirs. With a boundary that never comes it is text itself. */
export function holdsOthers(parts: readonly Part[], part: Part): boolean {
  return (parts[parts.indexOf(part) + 1]?.depth ?? 0) > part.depth
}

function groupsOf(text: string): StatusGroup[] {
  const groups: Map<string, string>[] = [new Map()]
  let name = ''
  let apart = false
  for (const line of text.split('\n')) {
    const current = groups.at(-1)!
    if (line.trim() === '') {
      // A group ends here; some writers put blank lines inside one, so it only begins anew with its first field.
      name = ''
      apart = true
      continue
    }
    if (/^[ \t]/.test(line) && name !== '') {
      const value = current.get(name) ?? ''
      if (value.length < MAX_VALUE) current.set(name, `${value} ${line.trim()}`.slice(0, MAX_VALUE))
      continue
    }
    const field = /^([A-Za-z][A-Za-z0-9-]{1,40})\s*:[ \t]*(.*)$/.exec(line)
    if (field === null) {
      name = ''
      continue
    }
    name = field[1]!.toLowerCase()
    const starts = name === 'final-recipient' || name === 'original-recipient'
    // Some writers say the action before the recipient.
    const complete =
      (current.has('final-recipient') || current.has('original-recipient')) &&
      (current.has('action') || current.has('status'))
    if (
      (starts && (current.has(name) || (complete && apart))) ||
      (name === 'action' && complete && current.has(name))
    ) {
      if (groups.length >= MAX_GROUPS) break
      groups.push(new Map([[name, field[2]!.trim()]]))
    } else if (!current.has(name)) current.set(name, field[2]!.slice(0, MAX_VALUE).trim())
    else name = ''
    apart = false
  }
  return groups
    .filter((group) => group.has('final-recipient') || group.has('original-recipient'))
    .map((group) => {
      const final = addressOf(group.get('final-recipient') ?? '')
      const original = addressOf(group.get('original-recipient') ?? '')
      const diagnostic = (group.get('diagnostic-code') ?? '').replace(/^[a-z0-9-]{1,20}\s*;\s*/i, '')
      return {
        // The original is whom we wrote to; the final one may be somewhere behind a forwarding of theirs.
        address: original.includes('@') ? original : final || original,
        action: (group.get('action') ?? '').toLowerCase().split(/[\s(;]/, 1)[0]!,
        status: /[245]\.\d{1,3}\.\d{1,3}/.exec(group.get('status') ?? '')?.[0] ?? '',
        diagnostic,
      }
    })
}
