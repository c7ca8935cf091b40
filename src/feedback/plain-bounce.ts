// Bounces that carry no RFC 3464 fields: qmail, Exim, old Sendmail, Exchange and the many others write for people. The
// address stands alone on a line, in brackets before a colon, or in a sentence of a known form; the reason stands near it.

export type Told = { readonly address: string; readonly text: string }

const ADDRESS =
  '[^\\s<>()\\[\\],;:"\'\uff1a\uff08\uff09\uff1b\uff0c\u3002\u300c\u300d]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,253}[A-Za-z0-9]'
const MAX_LINES = 400
const MAX_FOUND = 50

/** Where what was sent begins: addresses behind it are not those that failed. */
const ORIGINAL = [
  /^-{2,}\s*(below this line|this is a copy|original message|the (transcript of the )?original|copy of (the|your) message|forwarded message|unsent message|your original)/i,
  /^(-{2,}\s*)?(the )?(text of your )?original message( text)?( follows)?\s*[:.-]*$/i,
  /^(received|return-path|message-id|mime-version|dkim-signature):\s/i,
  /^-{3,}\s*(enclosed|attached|headers|message header)/i,
]
/** Addresses of whoever speaks, not of whom is spoken of. */
const SPEAKERS =
  /^(mailer-daemon|postmaster|mail-daemon|maildaemon|noreply|no-reply|daemon|root|abuse|support|mdaemon|helpdesk|administrator)@/i

const ALONE = new RegExp(
  `^[>*\\s\\d.)-]{0,8}<?(?:smtp:|mailto:|rfc822;)?(${ADDRESS})>?(?:[\\s:;,.-]{0,4}|:.{0,400}|\\s.{0,400})$`,
  'i',
)
const NOTHING_ELSE = new RegExp(`^\\s{0,8}<?(${ADDRESS})>?[\\s:;,.]{0,4}$`, 'i')
const BEFORE_COLON = new RegExp(`^\\s{0,8}<(${ADDRESS})>\\s{0,3}(?:\\(.{0,200}\\))?\\s{0,3}:`, 'i')
const SENTENCES = [
  new RegExp(`^[45]\\d\\d[ -](?:[45]\\.\\d{1,3}\\.\\d{1,3} )?<?(${ADDRESS})>?\\.{2,3}\\s`, 'i'),
  new RegExp(`^\\s{0,8}[45]\\d\\d[ -].{1,200}? (?:for|to) <?(${ADDRESS})`, 'i'),
  new RegExp(`\\bsmtp=(${ADDRESS})`, 'i'),
  new RegExp(
    `(?:unknown user|userid|user|recipient|attempts|mailbox|address|addressee|to)\\s{0,3}[:=]\\s{0,6}(?:\\[?smtp:|<|")?(${ADDRESS})`,
    'i',
  ),
  new RegExp(`(?:which your (?:message|mail) was addressed),?\\s{0,3}<?(${ADDRESS})`, 'i'),
  new RegExp(
    `(?:rcpt to|recipient|recipients|to|user|address|mailbox|addressee|destinataire|empfänger|destinatario)\\s{0,3}[:=]?\\s{0,3}<(${ADDRESS})>`,
    'i',
  ),
  new RegExp(
    `(?:your (?:message|mail|e-?mail) (?:to|for)|delivered to|deliver (?:your )?(?:message|mail|e-?mail) to|delivery to|sent to|addressed to|recipients?:|address:|original-recipient:|failed recipient:?)\\s{0,3}<?(${ADDRESS})`,
    'i',
  ),
  new RegExp(
    `<(${ADDRESS})>\\.{0,3}\\s{0,3}(?:user unknown|does not|not found|unknown|mailbox|is not|was not|could not|:)`,
    'i',
  ),
]

/** Behind this line stand those that failed; before it, often, the header of what was sent. */
const ANNOUNCED =
  /(did not reach|not be delivered to|not delivered to|failed (for|to)|following|permanent).{0,60}(recipient|address)/i

const ANYWHERE = new RegExp(`(?:^|[\\s<("'\\[:\uff1a\uff08\u300c])(${ADDRESS})`, 'i')

/** Who failed, as told in plain text, each with the text that says why. */
export function readPlainBounce(text: string, ownAddresses: ReadonlySet<string>): readonly Told[] {
  const lines = cut(text).slice(0, MAX_LINES)
  const nobody: ReadonlySet<string> = new Set()
  const strong = find(lines, [BEFORE_COLON], nobody)
  if (strong.length > 0) return strong
  const announced = lines.findIndex((line) => ANNOUNCED.test(line))
  const behind = announced < 0 ? lines : lines.slice(announced)
  for (const [where, patterns, own] of [
    [behind, [ALONE], ownAddresses],
    [behind, SENTENCES, ownAddresses],
    [lines, [ALONE], ownAddresses],
    [lines, SENTENCES, ownAddresses],
    // Whoever wrote to itself has failed itself.
    [behind, [NOTHING_ELSE], nobody],
  ] as const) {
    const found = find(where, patterns, own)
    if (found.length > 0) return found
  }
  return find(lines, [ANYWHERE], ownAddresses).slice(0, 1)
}

function cut(text: string): string[] {
  const lines = text.split('\n').map((line) => line.slice(0, 1000))
  const at = lines.findIndex((line, i) => i > 2 && ORIGINAL.some((mark) => mark.test(line)))
  return at < 0 ? lines : lines.slice(0, at)
}

function find(lines: readonly string[], patterns: readonly RegExp[], own: ReadonlySet<string>): Told[] {
  const found = new Map<string, { readonly address: string; readonly line: number }>()
  for (const [line, text] of lines.entries())
    for (const pattern of patterns) {
      const address = pattern.exec(text)?.[1]
      if (address === undefined || SPEAKERS.test(address) || own.has(address.toLowerCase())) continue
      const key = address.toLowerCase()
      if (!found.has(key) && found.size < MAX_FOUND) found.set(key, { address, line })
    }
  const told = [...found.values()]
  return told.map(({ address, line }, i) => ({ address, text: reasonAt(lines, line, told[i + 1]?.line) }))
}

/** The line and what follows it up to a blank line after something was said, or to the next that failed. */
function reasonAt(lines: readonly string[], at: number, next = lines.length): string {
  const said: string[] = []
  for (const line of lines.slice(at, Math.max(Math.min(at + 8, next), at + 1))) {
    if (line.trim() === '' && said.length > 1) break
    if (line.trim() !== '') said.push(line.trim())
  }
  return said.join(' ').slice(0, 1000)
}
