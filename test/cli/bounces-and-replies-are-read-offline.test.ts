import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { tempDir } from '#world'
import { relevo } from './at-the-command-line.ts'

const BOUNCE = `From: MAILER-DAEMON@mx.example.net
To: a@example.com
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your message could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; nobody@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <nobody@example.net>: user unknown

--b--
`
type Line = { path: string; kind: string; recipients: Record<string, unknown>[] }

function lines(stdout: string): Line[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

void t.test('bounce parse: one line a file in the order given, the path as given', async (t) => {
  await using room = await tempDir()
  await writeFile(room.join('b.eml'), BOUNCE.replaceAll('\n', '\r\n'))
  await writeFile(room.join('junk.eml'), Buffer.from([0, 255, 254, 10, 13, 0]))
  await writeFile(room.join('empty.eml'), '')
  const many = Array.from({ length: 250 }, (_, i) => ['./b.eml', 'junk.eml', 'empty.eml'][i % 3]!)
  const seen = await relevo(['bounce', 'parse', '--json', ...many], { cwd: room.path })
  t.equal(seen.code, 0)
  t.equal(seen.stderr, '')
  const read = lines(seen.stdout)
  t.strictSame(
    read.map(({ path }) => path),
    many,
  )
  t.strictSame(Object.keys(read[0]!), ['path', 'kind', 'recipients'])
  t.equal(read[0]!.kind, 'bounce')
  t.strictSame(Object.keys(read[0]!.recipients[0]!), [
    'address',
    'action',
    'status',
    'smtpCode',
    'class',
    'hard',
    'diagnostic',
  ])
  t.match(read[0]!.recipients, [
    { address: 'nobody@example.net', action: 'failed', status: '5.1.1', smtpCode: '550', hard: true },
  ])
  t.match(read[1], { kind: 'other', recipients: [] })
  t.match(read[2], { kind: 'other', recipients: [] })
})

void t.test('a file that cannot be read has its line too, and the exit code tells', async (t) => {
  await using room = await tempDir()
  await writeFile(room.join('b.eml'), BOUNCE)
  const seen = await relevo(['bounce', 'parse', '--json', 'none.eml', room.path, 'b.eml'], { cwd: room.path })
  t.equal(seen.code, 66)
  t.strictSame(
    lines(seen.stdout).map(({ path, kind }) => [path, kind]),
    [
      ['none.eml', 'other'],
      [room.path, 'other'],
      ['b.eml', 'bounce'],
    ],
  )
  t.equal(seen.stderr.split('\n').length, 3)
  const plain = await relevo(['bounce', 'parse', 'b.eml'], { cwd: room.path })
  t.match(plain.stdout, /^b\.eml\tbounce\tnobody@example\.net\t[a-z-]+\ttrue\t/)
})

void t.test('reply classify: one line for each line, whatever stands in it', async (t) => {
  const replies = ['550 5.1.1 User unknown', '', '452 4.2.2 mailbox full', 'a\rb\u2028c\u001b[31m', '250 ok']
  const seen = await relevo(['reply', 'classify', '--json', '-'], { stdin: replies.join('\n') })
  t.equal(seen.code, 0)
  const read = seen.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  t.strictSame(
    read.map(({ text }) => text),
    replies,
  )
  t.strictSame(Object.keys(read[0]!), ['text', 'class', 'hard', 'action'])
  t.match(read[0], { hard: true, action: 'suppress' })
  t.match(read[2], { hard: false })
  const ended = await relevo(['reply', 'classify', '--json', '-'], { stdin: `${replies[0]}\r\n` })
  t.equal(ended.stdout.split('\n').length, 2)
  t.match(JSON.parse(ended.stdout), { text: replies[0] })
  const empty = await relevo(['reply', 'classify', '--json', '-'], { stdin: '' })
  t.strictSame(empty, { code: 0, stdout: '', stderr: '' })
  const terminal = await relevo(['reply', 'classify', '-'], { stdin: replies[3]!, terminal: true })
  t.notMatch(terminal.stdout, /\u001b/)
  t.equal((await relevo(['reply', 'classify', 'none'])).code, 66)
})

void t.test('own rules are heeded', async (t) => {
  await using room = await tempDir()
  await writeFile(
    room.join('replies.toml'),
    '[[rule]]\nname = "own"\nclass = "own-class"\nhard = false\naction = "retry"\nphrases = ["purple"]\nsamples = ["550 purple"]\n',
  )
  const seen = await relevo(['reply', 'classify', '--json', '-', '--set', 'rules.replies_file=replies.toml'], {
    cwd: room.path,
    stdin: '550 purple\n',
  })
  t.match(JSON.parse(seen.stdout), { class: 'own-class', hard: false, action: 'retry' })
})
