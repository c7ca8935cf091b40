import { once } from 'node:events'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { EX, Fault, messageOf } from '#base'
import { loadFor } from '../load-config.ts'
import { readAll } from '../read-all.ts'
import { connectLocal, expect, LocalSmtp } from '../sendmail/local-smtp.ts'
import { readSendmailCall, type SendmailCall } from '../sendmail/options.ts'
import { prepare } from '../sendmail/outgoing.ts'
import type { Command, Invocation } from '../verb.ts'

/** Where the installed service has it. */
const INSTALLED = '/run/relevo/submit.sock'
const LAST_ANSWERS_MS = 30_000

export const sendmail: Command = {
  summary: 'Takes mail of local programs as sendmail does, for cron, PHP, mailx, git and monitoring.',
  operands: '[ADDRESS...]',
  raw: true,
  help: `Reads one message from standard input. Install it as /usr/sbin/sendmail with: ln -s /usr/bin/relevo /usr/sbin/sendmail

  -t              recipients are read from To, Cc and Bcc as well
  -i, -oi         a line with a single dot does not end the message
  -f, -r ADDRESS  the envelope sender (default: the user at the origin domain); <> for none
  -F NAME         the sender's name, where the message has no From
  -N WORDS        when to tell the sender: never, or success,failure,delay (RFC 3461)
  -R full|hdrs, -V ID   what comes back with it, and its envelope id
  -bs             SMTP on standard input and output
  -bp             the queue (relevo queue list);  -bi: nothing, for newaliases
  --socket PATH   the daemon's socket for local mail (default: RELEVO_SUBMIT_SOCKET, the configuration, ${INSTALLED})

Options of sendmail's own queue (-q, -v, -om, -odb and others) are taken and mean nothing. Exit code 0 once the message is on
disk for all recipients; 75 when the daemon is not running or asks to try again (nothing was taken); 67 when some recipients
were refused, which standard error names (the others are queued); 64 and 65 for what cannot be read; 69 when all was refused.`,
  async run(invocation) {
    const call = readSendmailCall(invocation.args.operands)
    if (call.mode === 'bi') return EX.OK
    if (call.mode === 'bp') return await listQueue(invocation)
    const path = await socketOf(call, invocation)
    if (call.mode === 'bs') return await speak(path, invocation)
    return await handIn(path, call, invocation)
  },
}

async function handIn(path: string, call: SendmailCall, { io, out }: Invocation): Promise<number> {
  const input = await readAll(io.stdin)
  using smtp = await LocalSmtp.open(path)
  const names = {
    origin: smtp.keywords.get('XORIGIN') ?? 'localhost',
    bareRecipients: smtp.keywords.get('XBARE') ?? '',
  }
  const { sender, recipients, content } = prepare(input, call, names, userInfo().username)
  if (recipients.length === 0)
    throw new Fault('no recipient was given', {
      code: 'usage',
      exitCode: EX.USAGE,
      remedy: 'Give addresses, or -t to read them from the message',
    })
  const utf8 = [sender, ...recipients].some((text) => /[^ -~]/.test(text))
  const parameters = [
    ...(utf8 ? ['SMTPUTF8'] : []),
    ...(call.ret === null ? [] : [`RET=${call.ret}`]),
    ...(call.envelopeId === null ? [] : [`ENVID=${xtext(call.envelopeId)}`]),
  ]
  expect(await smtp.ask(['MAIL', `FROM:<${oneLine(sender)}>`, ...parameters].join(' ')), `the sender ${sender || '<>'}`)
  const refused: { address: string; code: number; reason: string }[] = []
  for (const address of recipients) {
    const notify = call.notify === null ? '' : ` NOTIFY=${call.notify}`
    const { code, lines } = await smtp.ask(`RCPT TO:<${oneLine(address)}>${notify}`)
    // Nothing was handed in yet: the caller keeps the whole and tries again.
    if (code >= 400 && code < 500) expect({ code, lines }, address)
    if (code >= 500) refused.push({ address, code, reason: lines.join(' ') })
  }
  for (const { address, code, reason } of refused) out.note(`${address}: not taken: ${code} ${reason}`)
  if (refused.length === recipients.length)
    throw new Fault('no recipient was taken', {
      code: 'refused',
      exitCode: EX.UNAVAILABLE,
      remedy: refused[0]!.reason,
    })
  expect(await smtp.ask('DATA'), 'DATA')
  const { lines } = expect(await smtp.content(content), 'the message')
  const id = /queued as (\S+)/.exec(lines.join(' '))?.[1] ?? null
  if (out.json) out.record({ id, recipients: recipients.length - refused.length, refused })
  return refused.length === 0 ? EX.OK : EX.NOUSER
}

/**
 * -bs: the program speaks SMTP itself. Its end of input does not cut off the answers still to come; without QUIT they have 30 s,
 * and a message without its final dot is never completed.
 */
async function speak(path: string, { io }: Invocation): Promise<number> {
  const socket = await connectLocal(path)
  socket.pipe(io.stdout, { end: false })
  io.stdin.pipe(socket, { end: false })
  io.stdin.once('end', () => socket.setTimeout(LAST_ANSWERS_MS))
  await once(socket, 'close')
  io.stdin.destroy()
  return EX.OK
}

async function listQueue(invocation: Invocation): Promise<number> {
  const { run } = await import('../run.ts')
  return await run(['queue', 'list', ...(invocation.json ? ['--json'] : [])], invocation.io)
}

/** The configuration may be closed to who sends mail: then the place of the installed service. */
async function socketOf(call: SendmailCall, { args, io }: Invocation): Promise<string> {
  const given = call.socket ?? io.env.RELEVO_SUBMIT_SOCKET
  if (given !== undefined && given !== '') return resolve(io.cwd, given)
  try {
    const { config, files } = await loadFor(args, io, false)
    if (!config.local.enabled)
      throw new Fault('mail of local programs is switched off', {
        code: 'off',
        exitCode: EX.UNAVAILABLE,
        remedy: 'Set local.enabled = true in the configuration',
      })
    if (files.length === 0) return INSTALLED
    return config.local.socket === '' ? join(config.data_dir, 'submit.sock') : config.local.socket
  } catch (error) {
    if (error instanceof Fault && error.code === 'off') throw error
    io.stderr.write(
      `relevo: the configuration cannot be read (${messageOf(error).split('\n', 1)[0]}); using ${INSTALLED}\n`,
    )
    return INSTALLED
  }
}

/** RFC 3461 §4. */
function xtext(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) =>
      byte > 0x20 && byte < 0x7f && byte !== 0x2b && byte !== 0x3d
        ? String.fromCharCode(byte)
        : `+${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    )
    .join('')
}

/** An address becomes part of a command: what would end the line is refused by the server as a bad address. */
function oneLine(address: string): string {
  return address.replace(/[\r\n\0]/g, '\u{fffd}')
}
