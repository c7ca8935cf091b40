import { spawn } from 'node:child_process'
import { statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DaemonRig, DOMAIN, RELEVO } from '../daemon/daemon-rig.ts'
import { hasDebianOracle } from '../mail/debian-oracle.ts'

const DEBIAN = join(import.meta.dirname, '../../.cache/debian/usr')
type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

/** One daemon for all; mail to bare names goes to the owner. */
const rig = await DaemonRig.open({ more: '[local]\nbare_recipients = "owner@good.test"' })
t.teardown(() => rig[Symbol.asyncDispose]())
const socket = join(rig.dataDirectory, 'submit.sock')
const sendmailPath = join(rig.directory, 'sendmail')
symlinkSync(RELEVO, sendmailPath)
const env = {
  ...process.env,
  RELEVO_SUBMIT_SOCKET: socket,
  LD_LIBRARY_PATH: join(DEBIAN, 'lib', process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'),
}

function started(
  program: string,
  args: readonly string[],
  stdin: string,
  more: NodeJS.ProcessEnv = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...env, ...more }, cwd: rig.directory })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString()
    })
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString()
    })
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
    child.stdin.end(stdin)
  })
}

const sendmail = (args: readonly string[], stdin: string): Promise<Ended> => started(sendmailPath, args, stdin)

/** The mail with this subject, once the host took it for this recipient. */
async function arrived(recipient: string, subject: string): Promise<string> {
  let content = ''
  await rig.until(() => {
    const mail = rig.mx.taken.find(
      (one) => one.recipients.includes(recipient) && one.content.toString('latin1').includes(`Subject: ${subject}`),
    )
    content = mail?.content.toString('utf8') ?? ''
    return content !== ''
  })
  return content
}

void t.test('the socket is open to every user of the machine', async (t) => {
  t.equal(statSync(socket).mode & 0o777, 0o666)
})

void t.test('-t reads the recipients; Bcc gets its copy and is not shown; a dot at a line begin is kept', async (t) => {
  const text = `From: app@${DOMAIN}\nTo: Ann <ann@good.test>\nCc: bob@good.test\nBcc: eve@good.test\nSubject: all three\n\n.hidden\nend\n`
  t.match(await sendmail(['-t', '-i'], text), { code: 0, stderr: '' })
  for (const name of ['ann', 'bob', 'eve']) {
    const content = await arrived(`${name}@good.test`, 'all three')
    t.match(content, '\r\n\r\n.hidden\r\nend\r\n', name)
    t.notMatch(content, /^bcc/im, name)
  }
})

void t.test('as cron does: bare names get the origin, and the mail to root goes to the owner', async (t) => {
  const text =
    'From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@web1> backup\nAuto-Submitted: auto-generated\n\nfull\n'
  t.match(await sendmail(['-FCronDaemon', '-i', '-B8BITMIME', '-oem', 'root'], text), { code: 0 })
  const content = await arrived('owner@good.test', 'Cron <root@web1> backup')
  t.match(content, `From: root@${DOMAIN} (Cron Daemon)`)
  t.match(content, `To: root@${DOMAIN}`)
})

void t.test(
  'a text without a header gets one, from who runs it; a single dot ends it unless -i is given',
  async (t) => {
    t.match(await sendmail(['-F', 'The "Box"', '-f', `box@${DOMAIN}`, 'ann@good.test'], 'just text\n.\nnot this\n'), {
      code: 0,
    })
    await rig.until(() => rig.mx.taken.some(({ content }) => content.includes('just text')))
    const content = rig.mx.taken.find((one) => one.content.includes('just text'))?.content.toString() ?? ''
    t.match(content, `From: "The Box" <box@${DOMAIN}>`)
    t.notMatch(content, 'not this')
  },
)

void t.test('what is refused is named, with the exit code of sendmail; the others are sent', async (t) => {
  const text = `From: app@${DOMAIN}\nSubject: half\n\nhi\n`
  const half = await sendmail(['ann@good.test', 'nobody@localhost'], text)
  t.equal(half.code, 67)
  t.match(half.stderr, /nobody@localhost: not taken: 5\d\d/)
  t.ok(await arrived('ann@good.test', 'half'))
  t.match(await sendmail(['nobody@localhost'], text), { code: 69, stderr: /no recipient was taken/ })
  t.match(await sendmail(['-t'], `From: app@${DOMAIN}\nTo: "ann <ann@good.test>\nSubject: bad\n\nhi\n`), {
    code: 65,
    stderr: /to: /,
  })
  t.match(await sendmail(['-t'], `From: app@${DOMAIN}\nSubject: nobody\n\nhi\n`), { code: 64, stderr: /no recipient/ })
  t.match(await sendmail(['-f', 'x@elsewhere.test', 'ann@good.test'], text), { code: 69, stderr: /elsewhere\.test/ })
  t.match(await sendmail(['-bd'], ''), { code: 64, stderr: /relevo serve/ })
  t.match(await sendmail(['-bi'], ''), { code: 0 })
})

void t.test('line breaks in an address make no command of their own', async (t) => {
  const text = `From: app@${DOMAIN}\nSubject: smuggled\n\nhi\n`
  const before = rig.mx.taken.length
  const seen = await sendmail(['-f', `app@${DOMAIN}>\r\nRCPT TO:<eve@good.test`, 'nobody@localhost'], text)
  t.not(seen.code, 0)
  t.equal(rig.mx.taken.length, before)
})

void t.test('-bs speaks SMTP on standard input and output; --json tells the id', async (t) => {
  const dialogue = `EHLO localhost\r\nMAIL FROM:<app@${DOMAIN}>\r\nRCPT TO:<ann@good.test>\r\nDATA\r\nFrom: app@${DOMAIN}\r\nSubject: by bs\r\n\r\nhi\r\n.\r\nQUIT\r\n`
  const seen = await sendmail(['-bs'], dialogue)
  t.equal(seen.code, 0)
  t.match(seen.stdout, /250 2\.0\.0 queued as \S+\r\n221 /)
  t.ok(await arrived('ann@good.test', 'by bs'))
  const told = await sendmail(
    ['--json', '-N', 'never', '-R', 'hdrs', '-V', 'a+b=c', 'ann@good.test'],
    `From: app@${DOMAIN}\nSubject: json\n\nhi\n`,
  )
  t.match(JSON.parse(told.stdout), { id: /\S+/, recipients: 1, refused: [] })
  t.match(await sendmail(['--help'], ''), { code: 0, stdout: /-t {2,}recipients/ })
})

void t.test('mail() of PHP', async (t) => {
  if (!hasDebianOracle(t, 'php8.2-cli', join(DEBIAN, 'bin/php8.2'))) return
  const script = `exit(mail('ann@good.test', 'from php', "hello\\nworld", ['From' => 'Shop <app@${DOMAIN}>', 'Bcc' => 'bob@good.test']) ? 0 : 1);`
  const php = join(DEBIAN, 'bin/php8.2')
  t.match(await started(php, ['-n', '-d', `sendmail_path=${sendmailPath} -t -i`, '-r', script], ''), { code: 0 })
  t.match(await arrived('ann@good.test', 'from php'), 'hello\r\nworld')
  t.notMatch(await arrived('bob@good.test', 'from php'), /^bcc/im)
})

void t.test('mailx', async (t) => {
  if (!hasDebianOracle(t, 'bsd-mailx', join(DEBIAN, 'bin/bsd-mailx'))) return
  const rc = join(rig.directory, 'mailrc')
  writeFileSync(rc, `set sendmail=${sendmailPath}\n`)
  const mailx = join(DEBIAN, 'bin/bsd-mailx')
  const seen = await started(mailx, ['-r', `ops@${DOMAIN}`, '-s', 'from mailx', 'ann@good.test'], 'typed\n', {
    MAILRC: rc,
  })
  t.equal(seen.code, 0, seen.stderr)
  t.match(await arrived('ann@good.test', 'from mailx'), 'typed')
})

void t.test('git send-email', async (t) => {
  if (!hasDebianOracle(t, 'git-email', join(DEBIAN, 'lib/git-core/git-send-email'))) return
  const patch = join(rig.directory, '0001.patch')
  writeFileSync(
    patch,
    `From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: Dev <dev@${DOMAIN}>\nDate: Mon, 2 Nov 2026 10:00:00 +0000\nSubject: [PATCH] one line\n\n---\n a | 1 +\n`,
  )
  const args = [
    join(DEBIAN, 'lib/git-core/git-send-email'),
    ...['--from', `dev@${DOMAIN}`, '--to', 'ann@good.test', '--confirm=never', '--no-validate', '--suppress-cc=all'],
    `--smtp-server=${sendmailPath}`,
    patch,
  ]
  const seen = await started('perl', args, '', {
    GIT_CONFIG_GLOBAL: '/dev/null',
    PERL5LIB: join(DEBIAN, 'share/perl5'),
    HOME: rig.directory,
    EMAIL: `dev@${DOMAIN}`,
  })
  t.equal(seen.code, 0, seen.stderr + seen.stdout)
  t.match(await arrived('ann@good.test', '[PATCH] one line'), 'a | 1 +')
})

void t.test('with the daemon down it exits with 75 and says that nothing was taken', async (t) => {
  await rig.end('SIGTERM')
  const seen = await sendmail(['ann@good.test'], `From: app@${DOMAIN}\nSubject: later\n\nhi\n`)
  t.equal(seen.code, 75)
  t.match(seen.stderr, /was not taken/)
})
