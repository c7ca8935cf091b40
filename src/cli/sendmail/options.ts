import { EX, Fault } from '#base'

/** What the words after `sendmail` ask for. */
export type SendmailCall = {
  /** `bm` hand in one message; `bs` SMTP on standard input; `bp` list the queue; `bi` do nothing (newaliases). */
  readonly mode: 'bm' | 'bs' | 'bp' | 'bi'
  /** -f or -r; null: not given; empty: the null reverse-path. */
  readonly sender: string | null
  /** -F: shown in From where the message has none. */
  readonly fullName: string | null
  /** -t */
  readonly recipientsFromHeader: boolean
  /** False with -i or -oi: then a line with a single dot does not end the message. */
  readonly dotEnds: boolean
  /** -N: RFC 3461 NOTIFY. */
  readonly notify: string | null
  /** -R: RFC 3461 RET. */
  readonly ret: 'FULL' | 'HDRS' | null
  /** -V: RFC 3461 ENVID. */
  readonly envelopeId: string | null
  readonly recipients: readonly string[]
  /** Not of sendmail: --socket PATH. */
  readonly socket: string | null
}

/** Letters that take a value, glued or as the next word; all but -f, -r, -F, -b, -o, -N, -R, -V mean nothing here. */
const WITH_VALUE = new Set('fFrboNRVBCLhpOXAd')

/**
 * The command line of sendmail, as cron, PHP, mailx and git call it. Options that only mattered to sendmail's own queue are
 * taken and mean nothing.
 * @throws Fault EX.USAGE
 */
export function readSendmailCall(words: readonly string[]): SendmailCall {
  const call = {
    mode: 'bm' as SendmailCall['mode'],
    sender: null as string | null,
    fullName: null as string | null,
    recipientsFromHeader: false,
    dotEnds: true,
    notify: null as string | null,
    ret: null as SendmailCall['ret'],
    envelopeId: null as string | null,
    recipients: [] as string[],
    socket: null as string | null,
  }
  const rest = [...words]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      call.recipients.push(...rest)
      break
    }
    if (word === '--json' || word === '--help') continue
    if (word === '--socket' || word.startsWith('--socket=')) {
      call.socket = word === '--socket' ? (rest.shift() ?? missing('--socket')) : word.slice('--socket='.length)
      continue
    }
    if (!word.startsWith('-') || word === '-') {
      call.recipients.push(word)
      continue
    }
    if (word.startsWith('--')) throw unknown(word)
    const letter = word[1]!
    if (!WITH_VALUE.has(letter)) {
      flags(word.slice(1))
      continue
    }
    // `-oi` and `-bs` are whole words; `-d`, `-o` and `-b` never take the next one.
    const glued = word.slice(2)
    const value = glued !== '' || 'bod'.includes(letter) ? glued : (rest.shift() ?? missing(`-${letter}`))
    withValue(letter, value)
  }
  return call

  function flags(letters: string): void {
    for (const letter of letters)
      if (letter === 't') call.recipientsFromHeader = true
      else if (letter === 'i') call.dotEnds = false
      else if (!'vnmUqsGEIJQ'.includes(letter)) throw unknown(`-${letter}`)
  }

  function withValue(letter: string, value: string): void {
    switch (letter) {
      case 'f':
      case 'r':
        call.sender = value === '<>' ? '' : value
        break
      case 'F':
        call.fullName = value
        break
      case 'o':
        if (value.startsWith('i')) call.dotEnds = false
        break
      case 'N':
        call.notify = dsnWord(value, /^(never|(success|failure|delay)(,(success|failure|delay))*)$/i, '-N')
        break
      case 'R':
        call.ret = dsnWord(value, /^(full|hdrs)$/i, '-R') as SendmailCall['ret']
        break
      case 'V':
        call.envelopeId = value
        break
      case 'b':
        if (value !== 'm' && value !== 's' && value !== 'p' && value !== 'i')
          throw new Fault(`sendmail -b${value} is not supported`, {
            code: 'usage',
            exitCode: EX.USAGE,
            remedy: 'Supported are -bm, -bs, -bp and -bi; the daemon is started with: relevo serve',
          })
        call.mode = `b${value}`
        break
    }
  }
}

function dsnWord(value: string, allowed: RegExp, option: string): string {
  if (allowed.test(value)) return value.toUpperCase()
  throw new Fault(`${option} ${value} is not one of its words`, {
    code: 'usage',
    field: option,
    exitCode: EX.USAGE,
    remedy: 'Words are never, success, failure, delay for -N, full and hdrs for -R (RFC 3461)',
  })
}

function missing(option: string): never {
  throw new Fault(`${option} wants a value`, {
    code: 'usage',
    exitCode: EX.USAGE,
    remedy: 'See: relevo sendmail --help',
  })
}

function unknown(option: string): Fault {
  return new Fault(`sendmail has no option ${option} here`, {
    code: 'usage',
    exitCode: EX.USAGE,
    remedy: 'See: relevo sendmail --help',
  })
}
