import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { UNPACKED } from './unpacked.ts'

/** One face of the host: an address, and what it shows there. Without a certificate it does not offer STARTTLS. */
export type Face = { readonly address: string; readonly certFile?: string; readonly keyFile?: string }

/**
 * A real Postfix as it was unpacked, in a mount namespace of its own: an overlay of this machine's files with the package on top, so
 * that nothing is installed and nothing of the machine's own mail changes. One process for all faces; what it takes it throws away
 * and writes down.
 */
export class Postfix implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #log: string

  private constructor(child: ChildProcess, log: string) {
    this.#child = child
    this.#log = log
  }

  static async open(directory: string, port: number, faces: readonly Face[]): Promise<Postfix> {
    const shared = join(directory, 'shared')
    mkdirSync(shared, { recursive: true })
    chmodSync(shared, 0o777)
    const log = join(shared, 'postfix.log')
    writeFileSync(log, '')
    chmodSync(log, 0o666)
    const certificates = faces.flatMap(({ address, certFile, keyFile }) => {
      if (certFile === undefined || keyFile === undefined) return []
      writeFileSync(join(shared, `${address}.pem`), `${readFileSync(keyFile, 'utf8')}${readFileSync(certFile, 'utf8')}`)
      return [address]
    })
    const services = faces.map(({ address }) =>
      [
        `${address}:${port} inet n - n - - smtpd`,
        `  -o smtpd_tls_security_level=${certificates.includes(address) ? 'may' : 'none'}`,
        ...(certificates.includes(address)
          ? [`  -o smtpd_tls_chain_files=/shared/${address}.pem`, '  -o smtpd_tls_loglevel=1']
          : []),
      ].join('\n'),
    )
    writeFileSync(
      join(shared, 'master.cf'),
      `${services.join('\n')}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
`,
    )
    writeFileSync(
      join(shared, 'main.cf'),
      `compatibility_level = 3.6
mail_owner = postfix
setgid_group = postdrop
maillog_file = /shared/postfix.log
maillog_file_prefixes = /shared
myhostname = mx.real.test
inet_protocols = ipv4
inet_interfaces = all
mynetworks =
mydestination = static:all
relay_domains =
local_recipient_maps =
alias_maps =
alias_database =
local_transport = discard:
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions = reject_unauth_destination
`,
    )
    writeFileSync(join(shared, 'destinations'), '')
    writeFileSync(
      join(shared, 'start.sh'),
      `set -e
O=$1 unpacked=$2 shared=$3
mount -t tmpfs -o size=200m tmpfs "$O"
mkdir -p "$O"/up/etc/postfix "$O"/up/usr "$O"/up/var/spool/postfix "$O"/up/var/lib/postfix "$O"/up/shared "$O"/work "$O"/mnt
mkdir -p "$O"/up/usr/lib "$O"/up/usr/sbin
cp -a "$unpacked"/usr/lib/postfix "$O"/up/usr/lib/
cp -a "$unpacked"/usr/sbin/post* "$O"/up/usr/sbin/
cp -a "$unpacked"/etc/postfix/. "$O"/up/etc/postfix/
cp /etc/passwd /etc/group "$O"/up/etc/
for name in postfix:7100 postdrop:7101; do
  grep -q "^\${name%%:*}:" "$O"/up/etc/passwd || echo "\${name%%:*}:x:\${name##*:}:\${name##*:}::/nonexistent:/usr/sbin/nologin" >>"$O"/up/etc/passwd
  grep -q "^\${name%%:*}:" "$O"/up/etc/group || echo "\${name%%:*}:x:\${name##*:}:" >>"$O"/up/etc/group
done
cp "$shared"/main.cf "$shared"/master.cf "$O"/up/etc/postfix/
chown -R root:root "$O"/up/etc/postfix "$O"/up/usr/lib/postfix
mount -t overlay overlay -o "lowerdir=/,upperdir=$O/up,workdir=$O/work" "$O"/mnt
mount --bind "$shared" "$O"/mnt/shared
mount --rbind /dev "$O"/mnt/dev
mount -t proc proc "$O"/mnt/proc
exec chroot "$O"/mnt /bin/sh -c '
  chown postfix /var/lib/postfix
  chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop && chmod 2755 /usr/sbin/postqueue /usr/sbin/postdrop
  exec /usr/sbin/postfix start-fg'
`,
    )
    const root = join(directory, 'root')
    mkdirSync(root, { recursive: true })
    const output: string[] = []
    const child = spawn(
      'unshare',
      [
        '-m',
        '--propagation',
        'private',
        '--pid',
        '--fork',
        '--kill-child',
        'sh',
        join(shared, 'start.sh'),
        root,
        UNPACKED,
        shared,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => output.push(data.toString()))
    const postfix = new Postfix(child, log)
    try {
      for (const { address } of faces) await postfix.#until(address, port)
    } catch (error) {
      await postfix[Symbol.asyncDispose]()
      throw new Error(`${String(error)}\n${output.join('').slice(-2000)}\n${postfix.log.slice(-2000)}`)
    }
    return postfix
  }

  /** What it wrote down so far. */
  get log(): string {
    return existsSync(this.#log) ? readFileSync(this.#log, 'utf8') : ''
  }

  /** How many messages it took for the address. */
  taken(recipient: string): number {
    return this.log.split('\n').filter((line) => line.includes(`to=<${recipient}>`) && line.includes('status=sent'))
      .length
  }

  async #until(address: string, port: number): Promise<void> {
    for (let i = 0; i < 300 && this.#child.exitCode === null; i++) {
      const open = await new Promise<boolean>((resolve) => {
        const socket = connect({ host: address, port })
        socket.once('data', () => resolve(true))
        socket.once('error', () => resolve(false))
        socket.once('close', () => resolve(false))
        socket.setTimeout(2000, () => socket.destroy())
      })
      if (open) return
      await pause(50)
    }
    throw new Error(`Postfix does not greet at ${address}:${port}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    // Its master is the first process of a namespace of its own: whatever it started ends with it, and unshare after it.
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim()
    for (const pid of children.split(' ').filter(Boolean)) process.kill(Number(pid), 'SIGKILL')
    if (children === '') child.kill('SIGKILL')
    await ended
  }
}
