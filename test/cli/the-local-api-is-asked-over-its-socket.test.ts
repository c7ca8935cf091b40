import { chmod, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import t from 'tap'
import { type TempDir, tempDir } from '#world'
import { relevo } from './at-the-command-line.ts'

type Asked = { method: string; url: string; body: string; type: string | undefined }
type Answer = { status?: number; body?: unknown; text?: string }

/** A peer on a unix socket that answers by a script and keeps what it was asked. */
class Peer {
  readonly asked: Asked[] = []
  readonly socket: string
  readonly #server: Server

  private constructor(room: TempDir, answers: Readonly<Record<string, Answer>>) {
    this.socket = room.join('control.sock')
    this.#server = createServer((request, response) => {
      const { method = '', url = '' } = request
      void textOf(request).then((body) => {
        this.asked.push({ method, url, body, type: request.headers['content-type'] })
        const answer = answers[`${method} ${url.replace('/api/email-system', '')}`] ?? { status: 404 }
        response.statusCode = answer.status ?? 200
        response.end(answer.text ?? (answer.body === undefined ? '' : JSON.stringify(answer.body)))
      })
    })
  }

  static async open(room: TempDir, answers: Readonly<Record<string, Answer>>): Promise<Peer> {
    const peer = new Peer(room, answers)
    await new Promise<void>((resolve) => peer.#server.listen(peer.socket, resolve))
    return peer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

const ID = '01hzzzzzzzzzzzzzzzzzzzzzzz'
const HEAD = {
  id: ID,
  accepted_at: '2026-11-24T10:00:00.000Z',
  expires_at: '2026-11-28T10:00:00.000Z',
  mail_from: 'a@example.com',
  from: 'a@example.com',
  subject: 'red \u001b[31m\ttab\nline',
  size_bytes: 12,
  priority: 'normal',
  sandbox: true,
}
const PART = {
  address: 'b@example.net',
  state: 'deferred',
  reason: 'greylisted',
  due_at: '2026-11-24T10:05:00.000Z',
  attempts: 1,
  settled_at: null,
}

void t.test('a daemon that is not there: exit code 69, 75 for send, with what to do', async (t) => {
  await using room = await tempDir()
  const env = { RELEVO__data_dir: room.path }
  const seen = await relevo(['queue', 'list'], { env })
  t.equal(seen.code, 69)
  t.match(
    seen.stderr,
    `relevo: the daemon is not running: nobody answers at ${room.join('control.sock')}. Start it with: `,
  )
  t.equal((await relevo(['send', '-f', 'a@example.com', '--text', 'x', 'b@example.net'], { env })).code, 75)
  await writeFile(room.join('control.sock'), '')
  t.equal((await relevo(['status'], { env })).code, 69)
})

void t.test('a socket of something else is told', async (t) => {
  await using room = await tempDir()
  const server = createNetServer((socket) => socket.resume().end('220 not http\r\n'))
  await new Promise<void>((resolve) => server.listen(room.join('s'), resolve))
  const seen = await relevo(['status', '--socket', 's'], { cwd: room.path })
  t.equal(seen.code, 69)
  t.match(seen.stderr, 'relevo: the daemon does not answer: ')
  await new Promise((resolve) => server.close(resolve))
})

void t.test('lists: fields in a pipe, a table on a terminal, lines of JSON; remote text obeys nowhere', async (t) => {
  await using room = await tempDir()
  const rows = [{ ...HEAD, from: 'a\u001b[2J\t@example.com', recipient: PART }]
  await using peer = await Peer.open(room, {
    'GET /queue?status=deferred%2Cheld&domain=example.net&limit=50': { body: { messages: rows, next_cursor: null } },
  })
  const argv = [
    'queue',
    'list',
    '--status',
    'deferred',
    '--status',
    'held',
    '--domain',
    'example.net',
    '--socket',
    peer.socket,
  ]
  const piped = await relevo(argv)
  t.equal(
    piped.stdout,
    `${ID}\t${HEAD.accepted_at}\ta [2J @example.com\tb@example.net\tdeferred\tgreylisted\t${PART.due_at}\n`,
  )
  const table = await relevo(argv, { terminal: true })
  t.match(table.stdout, /^ID +ACCEPTED +FROM +RECIPIENT +STATE +REASON +DUE\n/)
  t.notMatch(table.stdout, /\u001b/)
  t.strictSame(JSON.parse((await relevo([...argv, '--json'])).stdout), rows[0])
})

void t.test('pages are followed up to the limit', async (t) => {
  await using room = await tempDir()
  const page = (n: number): unknown[] => Array.from({ length: n }, () => ({ ...HEAD, recipient: PART }))
  await using peer = await Peer.open(room, {
    'GET /queue?limit=500': { body: { messages: page(500), next_cursor: 'two' } },
    'GET /queue?limit=100&cursor=two': { body: { messages: page(100), next_cursor: 'three' } },
  })
  const seen = await relevo(['queue', 'list', '--limit', '600', '--socket', peer.socket])
  t.equal(seen.stdout.split('\n').length, 601)
})

void t.test('a problem becomes one line with its remedy, and the exit code of its status', async (t) => {
  await using room = await tempDir()
  const problem = (status: number, code: string): Answer => ({
    status,
    body: { type: `urn:relevo:problem:${code}`, detail: `what is ${code}`, field: 'name', remedy: 'Do this.' },
  })
  await using peer = await Peer.open(room, {
    'GET /queue/a%2F..%2Fb/why': problem(404, 'not-found'),
    'POST /domains': problem(409, 'exists'),
    'GET /domains': problem(403, 'forbidden'),
    'GET /tokens': problem(503, 'busy'),
    'GET /providers': { status: 500, text: '<html>' },
  })
  const at = ['--socket', peer.socket]
  t.match(await relevo(['why', 'a/../b', ...at]), { code: 66, stderr: 'relevo: what is not-found. Do this\n' })
  t.equal((await relevo(['domain', 'add', 'example.com', ...at])).code, 65)
  t.equal((await relevo(['domain', 'list', ...at])).code, 77)
  t.equal((await relevo(['token', 'list', ...at])).code, 75)
  t.match(await relevo(['provider', 'list', ...at]), {
    code: 70,
    stderr: 'relevo: the daemon answered with status 500\n',
  })
  t.strictSame(JSON.parse((await relevo(['domain', 'list', '--json', ...at])).stdout), {
    error: { code: 'forbidden', message: 'what is forbidden', field: 'name', remedy: 'Do this' },
  })
})

void t.test('trace tells the story of a message and of a recipient', async (t) => {
  await using room = await tempDir()
  const one = {
    started_at: '2026-11-24T10:00:01.000Z',
    ended_at: '2026-11-24T10:00:02.000Z',
    provider: 'own',
    source: '192.0.2.1',
    remote_host: 'mx.example.net',
    remote_address: '192.0.2.9',
    tls: 'TLSv1.3',
    stage: 'rcpt',
    reply_code: 450,
    enhanced_status: '4.7.1',
    reply: '450 4.7.1 wait\u0007',
    class: 'greylisted',
    transcript: null,
  }
  await using peer = await Peer.open(room, {
    [`GET /queue/${ID}`]: { body: { ...HEAD, recipients: [{ ...PART, tries: [one] }] } },
    'GET /queue?recipient=b%40example.net&limit=10': {
      body: { messages: [{ ...HEAD, recipient: PART }], next_cursor: null },
    },
    'GET /queue?recipient=c%40example.net&limit=10': { body: { messages: [], next_cursor: null } },
  })
  const story = [
    `${ID}  2026-11-24T10:00:00.000Z  12 bytes  normal  sandbox`,
    '  from a@example.com (a@example.com)  red  [31m tab line',
    '  to b@example.net: deferred (greylisted) until 2026-11-24T10:05:00.000Z',
    '    2026-11-24T10:00:02.000Z  own  mx.example.net [192.0.2.9]  TLSv1.3  rcpt  450 4.7.1 wait ',
    '',
  ].join('\n')
  t.equal((await relevo(['trace', ID, '--socket', peer.socket])).stdout, story)
  t.equal((await relevo(['trace', 'b@example.net', '--socket', peer.socket])).stdout, story)
  t.equal((await relevo(['trace', 'c@example.net', '--socket', peer.socket])).code, 66)
})

void t.test('steering names what is meant and sums what was done', async (t) => {
  await using room = await tempDir()
  await using peer = await Peer.open(room, {
    'POST /queue/steer': { body: { action: 'hold', count: 2, dry_run: false, more: false } },
  })
  const at = ['--socket', peer.socket]
  t.equal((await relevo(['queue', 'hold', ID, ID, '--reason', 'look', ...at])).stdout, 'hold: 4 recipients done\n')
  t.equal(
    (await relevo(['queue', 'retry', '--domain', 'example.net', '--dry-run', ...at])).stdout,
    'retry: 2 recipients would be concerned\n',
  )
  t.equal((await relevo(['queue', 'cancel', '--all', ...at])).code, 0)
  t.strictSame(
    peer.asked.map(({ body }) => JSON.parse(body)),
    [
      { action: 'hold', filter: { message_id: ID }, reason: 'look', dry_run: false },
      { action: 'hold', filter: { message_id: ID }, reason: 'look', dry_run: false },
      { action: 'retry', filter: { domain: 'example.net' }, dry_run: true },
      { action: 'cancel', filter: {}, dry_run: false },
    ],
  )
})

void t.test('send takes the text from standard input and says who got nothing', async (t) => {
  await using room = await tempDir()
  await writeFile(room.join('list.csv'), 'a,b\n')
  const result = (statuses: readonly string[]): Answer => ({
    status: 202,
    body: {
      id: ID,
      repeated: false,
      recipients: statuses.map((status, i) => ({ address: `r${i}@example.net`, status, reason: 'why' })),
    },
  })
  const answers: Record<string, Answer> = { 'POST /queue': result(['queued', 'suppressed']) }
  await using peer = await Peer.open(room, answers)
  const argv = [
    'send',
    '-f',
    'a@example.com',
    '-s',
    'Hi',
    '-a',
    'list.csv',
    '--header',
    'X-A: b: c',
    'r0@example.net',
    'r1@example.net',
  ]
  const seen = await relevo([...argv, '--socket', 'control.sock'], { cwd: room.path, stdin: 'Hello\n' })
  t.strictSame(seen, { code: 0, stdout: `queued as ${ID}\n`, stderr: 'r1@example.net: suppressed, why\n' })
  t.strictSame(JSON.parse(peer.asked[0]!.body), {
    from: 'a@example.com',
    to: ['r0@example.net', 'r1@example.net'],
    subject: 'Hi',
    text: 'Hello\n',
    attachments: [{ filename: 'list.csv', content: 'YSxiCg==' }],
    headers: { 'X-A': 'b: c' },
  })
  answers['POST /queue'] = result(['suppressed'])
  t.equal((await relevo([...argv, '--text', '', '--socket', 'control.sock'], { cwd: room.path })).code, 65)
  t.equal(
    (
      await relevo(
        ['send', '-f', 'a@example.com', '--text-file', 'none', 'b@example.net', '--socket', 'control.sock'],
        { cwd: room.path },
      )
    ).code,
    66,
  )
})

void t.test('suppressions are imported and exported as CSV', async (t) => {
  await using room = await tempDir()
  await writeFile(room.join('in.csv'), 'a@example.net\nnonsense\n')
  await using peer = await Peer.open(room, {
    'POST /bounces/import': { body: { added: 1, refused: [{ line: 2, problem: 'not an address' }] } },
    'GET /bounces/export': { text: 'address\r\na@example.net\r\n' },
    'GET /bounces/a%40example.net': {
      body: {
        address: 'a@example.net',
        suppressed: true,
        suppressions: [
          { address: 'a@example.net', scope: 'everything', reason: 'manual', since: 'x', until: null, detail: '' },
        ],
      },
    },
    'GET /bounces/b%40example.net': { body: { address: 'b@example.net', suppressed: false, suppressions: [] } },
  })
  const around = { cwd: room.path }
  const at = ['--socket', peer.socket]
  const imported = await relevo(['suppress', 'import', 'in.csv', ...at], around)
  t.strictSame(imported, { code: 65, stdout: '1 added, 1 refused\n', stderr: 'line 2: not an address\n' })
  t.match(peer.asked[0], { type: 'text/csv', body: 'a@example.net\nnonsense\n' })
  t.equal((await relevo(['suppress', 'export', ...at], around)).stdout, 'address\r\na@example.net\r\n')
  t.equal((await relevo(['suppress', 'import', 'none.csv', ...at], around)).code, 66)
  t.match(await relevo(['suppress', 'check', 'a@example.net', ...at]), {
    code: 1,
    stdout: 'a@example.net\teverything\tmanual\tx\t\t\n',
  })
  t.match(await relevo(['suppress', 'check', 'b@example.net', ...at]), { code: 0, stdout: '' })
})

void t.test('who may not open the socket is told', async (t) => {
  await using room = await tempDir()
  await using peer = await Peer.open(room, {})
  await chmod(peer.socket, 0o000)
  const seen = await relevo(['status', '--socket', peer.socket])
  // Root may open everything and then meets a peer without the route.
  t.equal(seen.code, process.getuid?.() === 0 ? 66 : 77)
})
