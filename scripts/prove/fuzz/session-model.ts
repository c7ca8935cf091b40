import fc from 'fast-check'

/** Where a session on the listener for trusted networks stands. */
export type State = { greeted: boolean; mail: boolean; recipients: number; closed: boolean }
export const START: State = { greeted: false, mail: false, recipients: 0, closed: false }

/** A step: what is written, and by the state the codes that are right as the answer to each line of it. */
export type Step = {
  readonly name: string
  readonly bytes: string
  /** The codes that may come, and the state afterwards for the one that came. */
  answer(state: State): { readonly codes: readonly number[]; after(code: number): State }
  /** True when a 250 to it means one more message. */
  readonly content?: boolean
}

const same = (codes: readonly number[]) => (state: State) => ({ codes, after: () => state })
const reset = (state: State): State => ({ ...state, mail: false, recipients: 0 })

const greet = (name: string, line: string): Step => ({
  name,
  bytes: `${line}\r\n`,
  answer: (state) => ({ codes: [250], after: () => ({ ...reset(state), greeted: true }) }),
})
const mail = (path: string, parameters = ''): Step => ({
  name: `MAIL ${path}`,
  bytes: `MAIL FROM:${path}${parameters}\r\n`,
  answer: (state) =>
    !state.greeted || state.mail
      ? { codes: [503], after: () => state }
      : { codes: [250], after: () => ({ ...state, mail: true, recipients: 0 }) },
})
const rcpt = (path: string): Step => ({
  name: `RCPT ${path}`,
  bytes: `RCPT TO:${path}\r\n`,
  answer: (state) =>
    state.mail
      ? { codes: [250], after: () => ({ ...state, recipients: state.recipients + 1 }) }
      : { codes: [503], after: () => state },
})
const refusedAlways = (name: string, line: string, codes: readonly number[]): Step => ({
  name,
  bytes: `${line}\r\n`,
  answer: same(codes),
})

/** Without content: what the model says of each command in each state. */
export const COMMANDS: readonly Step[] = [
  greet('EHLO', 'EHLO client.example'),
  greet('HELO', 'helo client.example'),
  mail('<app@example.com>'),
  mail('<app@example.com>', ' SIZE=100 BODY=8BITMIME'),
  rcpt('<you@example.net>'),
  rcpt('<"odd one"@example.net>'),
  { name: 'RSET', bytes: 'RSET\r\n', answer: (state) => ({ codes: [250], after: () => reset(state) }) },
  refusedAlways('NOOP', 'noop anything', [250]),
  refusedAlways('VRFY', 'VRFY you', [252, 502, 503]),
  refusedAlways('MAIL of a stranger', 'MAIL FROM:<x@elsewhere.example>', [550, 503]),
  refusedAlways('MAIL that is no path', 'MAIL FROM:app@example.com', [501, 503]),
  refusedAlways('MAIL of an unknown parameter', 'MAIL FROM:<app@example.com> XYZ=1', [555, 503]),
  refusedAlways('RCPT that is no path', 'RCPT TO:<a@b@c>', [501, 503]),
  refusedAlways('an unknown command', 'XYZZY', [500, 502]),
  refusedAlways('an empty line', '', [500, 502]),
  refusedAlways('a control character', 'NOOP \x01', [500]),
  refusedAlways('XCLIENT', 'XCLIENT LOGIN=app', [500, 502]),
  refusedAlways('BDAT', 'BDAT 0 LAST', [500, 502]),
  refusedAlways('AUTH', 'AUTH PLAIN AAAA', [500, 502, 503, 538]),
  refusedAlways('DATA with a parameter', 'DATA x', [501, 503, 554]),
]

const CONTENTS = [
  'From: <app@example.com>\r\n\r\nhello\r\n.\r\n',
  'From: <app@example.com>\r\n\r\nMAIL FROM:<app@example.com>\r\nRCPT TO:<x@example.net>\r\nDATA\r\n..\r\n.\r\n',
  'From: <app@example.com>\r\n\r\n\n.\nQUIT\r.\r\r\n.\r\n',
  'no header field here\r\n.\r\n',
  '.\r\n',
]

/** DATA, and the content only when it was asked for: what a right client does. */
export const data = (content: string): Step => ({
  name: `DATA ${JSON.stringify(content.slice(0, 30))}`,
  bytes: 'DATA\r\n',
  content: true,
  answer: (state) =>
    !state.mail
      ? { codes: [503], after: () => state }
      : state.recipients === 0
        ? { codes: [554], after: () => state }
        : { codes: [354], after: () => reset(state) },
})

export type Move = { readonly step: Step; readonly content: string | null }

/** Any sequence of commands and contents. */
export const moves: fc.Arbitrary<readonly Move[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...COMMANDS).map((step) => ({ step, content: null })) },
    {
      weight: 2,
      arbitrary: fc.constantFrom(COMMANDS[0]!, COMMANDS[2]!, COMMANDS[4]!).map((step) => ({ step, content: null })),
    },
    { weight: 2, arbitrary: fc.constantFrom(...CONTENTS).map((content) => ({ step: data(content), content })) },
  ),
  { minLength: 1, maxLength: 25 },
)
