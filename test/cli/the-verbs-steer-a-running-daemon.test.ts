import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, copyFile, readFile, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { certificate, type TempDir, tempDir } from '#world'
import { LAUNCHER, relevo, type Seen, spawned } from './at-the-command-line.ts'

type LogLine = { readonly level: string; readonly msg: string } & Readonly<Record<string, unknown>>

type Message = { readonly recipients: readonly { readonly state: string; readonly tries: readonly unknown[] }[] }

/** The real command in a real process: `relevo serve`. */
class Serving {
  readonly lines: LogLine[] = []
  readonly ended: Promise<number | null>
  readonly #child: ChildProcess
  readonly #room: TempDir
  #heard: (() => void)[] = []

  constructor(room: TempDir) {
    this.#room = room
    this.#child = spawn(LAUNCHER, ['serve', '--config', room.join('relevo.toml')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.ended = new Promise((resolve) => this.#child.once('close', resolve))
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as LogLine)
      for (const heard of this.#heard.splice(0)) heard()
    })
  }

  /** The first log line with that message after the given number of lines. */
  async logged(message: string, after = 0): Promise<LogLine> {
    for (;;) {
      const found = this.lines.slice(after).find((line) => line.msg === message)
      if (found !== undefined) return found
      await new Promise<void>((resolve, reject) => {
        this.#heard.push(resolve)
        void this.ended.then((code) => reject(new Error(`relevo serve ended with ${code} before "${message}"`)))
      })
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  run(...argv: readonly string[]): Promise<Seen> {
    return relevo([...argv, '--config', this.#room.join('relevo.toml')], { cwd: this.#room.path, stdin: 'Hello\n' })
  }

  async json<T>(...argv: readonly string[]): Promise<T[]> {
    const { stdout, stderr, code } = await this.run(...argv, '--json')
    if (code !== 0) throw new Error(`relevo ${argv.join(' ')}: ${code} ${stderr}`)
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as T)
  }

  /** Waits until the only recipient of a message stands there, after that many tries. */
  async stands(id: string, wanted: string, tries = 0): Promise<string> {
    let state = ''
    for (let i = 0; i < 200; i++) {
      const [message] = await this.json<Message>('queue', 'show', id)
      const [recipient] = message?.recipients ?? []
      state = recipient?.state ?? ''
      if (state === wanted && (recipient?.tries.length ?? 0) >= tries) return state
      await pause(50)
    }
    return state
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL')
    await this.ended
  }
}

const CONFIG = `mode = "sandbox"
hostname = "relay.example.com"
data_dir = "data"
[submission]
starttls_listen = ["127.0.0.1:0"]
tls_listen = []
[inbound]
listen = ["127.0.0.1:0"]
[http]
listen = ["127.0.0.1:0"]
[metrics]
listen = "127.0.0.1:0"
[tls]
certificate_file = "cert.pem"
key_file = "key.pem"
`

async function furnish(room: TempDir): Promise<void> {
  const made = await certificate(['relay.example.com'])
  await copyFile(made.certFile, room.join('cert.pem'))
  await copyFile(made.keyFile, room.join('key.pem'))
  await chmod(room.join('key.pem'), 0o600)
  await writeFile(room.join('relevo.toml'), CONFIG)
}

void t.test('every verb against the running daemon', async (t) => {
  await using room = await tempDir()
  await furnish(room)
  await using daemon = new Serving(room)
  await daemon.logged('relevo is ready')

  await t.test('a domain, credential, token and provider come, are listed, and go', async (t) => {
    const [domain] = await daemon.json<{ name: string; dkim: { selector: string; host: string }[] }>(
      'domain',
      'add',
      'example.com',
    )
    t.equal(domain?.name, 'example.com')
    t.equal(domain?.dkim.length, 2, 'an RSA and an Ed25519 key')
    t.match((await daemon.run('domain', 'show', 'example.com')).stdout, `${domain?.dkim[0]?.host} TXT\tv=DKIM1`)
    t.equal((await daemon.run('domain', 'add', 'example.com')).code, 65)
    t.match((await daemon.run('domain', 'list')).stdout, /^example\.com\tbounces\.example\.com\tyes\t/)
    t.equal((await daemon.run('domain', 'add', 'gone.example')).code, 0)
    t.equal((await daemon.run('domain', 'remove', 'gone.example')).code, 0)
    t.match(await daemon.run('domain', 'remove', 'gone.example'), { code: 66, stderr: /there is no sending domain/ })

    const [credential] = await daemon.json<{ username: string; password: string }>(
      'credential',
      'add',
      'app',
      '--allow',
      'example.com',
      '--tag',
      'x',
    )
    t.ok((credential?.password.length ?? 0) >= 20)
    t.match((await daemon.run('credential', 'list')).stdout, /^app\texample\.com\t/)
    t.notMatch((await daemon.run('credential', 'list', '--json')).stdout, 'password')
    t.equal((await daemon.run('credential', 'add', 'app')).code, 64)
    t.equal((await daemon.run('credential', 'remove', 'app')).code, 0)

    const [token] = await daemon.json<{ id: string; token: string }>(
      'token',
      'create',
      'shop',
      '--permission',
      'send,queue:read',
    )
    t.match(token?.token, /^rlv_/)
    t.match((await daemon.run('token', 'list')).stdout, `${token?.id}\tshop\t`)
    t.equal((await daemon.run('token', 'create', 'odd', '--permission', 'everything')).code, 65)
    t.equal((await daemon.run('token', 'revoke', token?.id ?? '')).code, 0)

    await writeFile(room.join('password'), 'a long password\n')
    const added = await daemon.run(
      'provider',
      'add',
      'relay',
      '--host',
      'smtp.example.org',
      '--username',
      'u',
      '--password-file',
      'password',
    )
    t.equal(added.code, 0, added.stderr)
    t.notMatch(added.stdout, 'a long password')
    t.match((await daemon.run('provider', 'list')).stdout, /^relay\tsmarthost\tsmtp\.example\.org:587\t/m)
    t.match((await daemon.run('provider', 'test', 'relay')).stdout, /^provider\trelay$/m)
    t.equal((await daemon.run('provider', 'remove', 'relay')).code, 0)
  })

  await t.test('a message is handed in, delivered to the sink, and traced', async (t) => {
    const [answer] = await daemon.json<{ id: string }>('send', '-f', 'a@example.com', '-s', 'Hi', 'taken@example.net')
    const id = answer?.id ?? ''
    t.equal(await daemon.stands(id, 'sent'), 'sent')
    t.match(
      (await daemon.run('trace', id)).stdout,
      /to taken@example\.net: sent .*\n {4}.* sandbox {2}sandbox sink \[127\.0\.0\.1\] {2}TLSv1\.3 /,
    )
    t.match((await daemon.run('trace', 'taken@example.net')).stdout, id)
    t.match((await daemon.run('why', id)).stdout, /^taken@example\.net\tsent\t/)
  })

  await t.test('mail is held, released, retried and cancelled', async (t) => {
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const [one] = await daemon.json<{ id: string }>('send', '-f', 'a@example.com', '--at', later, 'later@example.net')
    const id = one?.id ?? ''
    t.match((await daemon.run('why', id)).stdout, /^later@example\.net\tscheduled\t/)
    t.match(await daemon.run('queue', 'hold', id), { code: 0, stdout: 'hold: 1 recipient done\n' })
    t.match((await daemon.run('queue', 'list', '--status', 'held')).stdout, `${id}\t`)
    const counted = await daemon.run('queue', 'release', '--status', 'held', '--dry-run')
    t.equal(counted.stdout, 'release: 1 recipient would be concerned\n')
    t.match(await daemon.run('queue', 'release', id), { code: 0, stdout: 'release: 1 recipient done\n' })
    t.match((await daemon.run('why', id)).stdout, /^later@example\.net\tscheduled\t/, 'it goes back to its time')
    t.match(await daemon.run('queue', 'retry', id), { code: 0, stdout: 'retry: 1 recipient done\n' })
    t.equal(await daemon.stands(id, 'sent'), 'sent')

    const [slow] = await daemon.json<{ id: string }>('send', '-f', 'a@example.com', '450-x@example.net')
    await daemon.stands(slow?.id ?? '', 'deferred')
    t.match(await daemon.run('queue', 'retry', slow?.id ?? ''), { code: 0, stdout: 'retry: 1 recipient done\n' })
    await daemon.stands(slow?.id ?? '', 'deferred', 2)
    t.match(await daemon.run('queue', 'cancel', slow?.id ?? ''), { code: 0 })

    const [two] = await daemon.json<{ id: string }>('send', '-f', 'a@example.com', '--at', later, 'never@example.net')
    const gone = two?.id ?? ''
    t.match(await daemon.run('queue', 'cancel', gone), { code: 0, stdout: 'cancel: 1 recipient done\n' })
    t.equal(await daemon.stands(gone, 'cancelled'), 'cancelled')
    t.match(await daemon.run('queue', 'retry', gone), {
      code: 65,
      stderr: /no recipient of .* can be given to retry now/,
    })
    t.equal((await daemon.run('queue', 'list', '--status', 'nonsense')).code, 65)
  })

  await t.test('suppressions come, are checked, travel as CSV, and go', async (t) => {
    t.equal((await daemon.run('suppress', 'add', 'dead@example.net', '--detail', 'asked by phone')).code, 0)
    t.match(await daemon.run('suppress', 'check', 'dead@example.net'), {
      code: 1,
      stdout: /^dead@example\.net\teverything\tmanual\t/,
    })
    t.match(await daemon.run('send', '-f', 'a@example.com', 'dead@example.net'), { code: /65|0/, stderr: /suppressed/ })
    const exported = await daemon.run('suppress', 'export')
    t.match(exported.stdout, /^address,/)
    await writeFile(room.join('list.csv'), exported.stdout)
    t.equal((await daemon.run('suppress', 'remove', 'dead@example.net')).code, 0)
    t.equal((await daemon.run('suppress', 'check', 'dead@example.net')).code, 0)
    t.match(await daemon.run('suppress', 'import', 'list.csv'), { code: 0, stdout: '1 added, 0 refused\n' })
    t.match((await daemon.run('suppress', 'list', '--reason', 'manual')).stdout, /^dead@example\.net\t/)
  })

  await t.test('status, reputation, warm-up, the store', async (t) => {
    t.match(await daemon.json('status'), [{ ready: true, mode: 'sandbox', hostname: 'relay.example.com' }])
    t.equal((await daemon.run('reputation', 'show')).code, 0)
    t.match(await daemon.run('warmup', 'show'), { code: 0, stderr: 'warm-up is off (warmup.enabled)\n' })
    const findings = await daemon.json<{ check: string; ok: boolean }>('db', 'check')
    t.ok(findings.length >= 3 && findings.every((finding) => finding.ok))
  })

  await t.test('a second daemon on the same store refuses', async (t) => {
    const seen = await spawned(LAUNCHER, ['serve', '--config', room.join('relevo.toml')])
    t.not(seen.code, 0)
    t.match(seen.stderr, /^relevo: /)
    t.notMatch(seen.stderr, 'bug')
  })

  await t.test(
    'HUP: a bad file is told and the old one goes on; a good one is taken, what must wait is named',
    async (t) => {
      let before = daemon.lines.length
      await writeFile(room.join('relevo.toml'), `${CONFIG}[queue]\nleas = 100\n`)
      daemon.signal('SIGHUP')
      const refused = await daemon.logged('the new configuration is not used; the old one goes on', before)
      t.match(refused.problems, [{ field: 'queue.leas', remedy: 'Did you mean queue.lease?' }])
      before = daemon.lines.length
      await writeFile(room.join('relevo.toml'), `${CONFIG}[queue]\nlease = 100\n`)
      daemon.signal('SIGHUP')
      await daemon.logged('the configuration and the certificates were read again', before)
      t.match(await daemon.logged('these changes wait for the next start', before), { keys: ['queue.lease'] })
      t.equal((await daemon.run('status')).code, 0)
    },
  )

  await t.test('TERM: stops in good order, exit 0, the socket is gone', async (t) => {
    daemon.signal('SIGTERM')
    t.equal(await daemon.ended, 0)
    t.equal(daemon.lines.at(-1)?.msg, 'relevo has stopped')
    t.equal((await daemon.run('status')).code, 69)
    t.notMatch(await readFile(room.join('relevo.toml'), 'utf8'), 'password')
  })
})

void t.test('a port that is taken: one line with the remedy', async (t) => {
  await using room = await tempDir()
  await furnish(room)
  const { createServer } = await import('node:net')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const seen = await spawned(LAUNCHER, [
    'serve',
    '--config',
    room.join('relevo.toml'),
    '--set',
    `metrics.listen=127.0.0.1:${port}`,
  ])
  t.equal(seen.code, 69)
  t.match(seen.stderr, `relevo: cannot listen on 127.0.0.1:${port}: another program has it. See which with: ss -ltnp`)
  await new Promise((resolve) => server.close(resolve))
})
