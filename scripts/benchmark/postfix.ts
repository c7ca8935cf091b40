import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificate } from '../../test/world/index.ts'
import { inside, write } from './cgroup.ts'
import { HOST, LOGIN, SENDER, type Subject } from './contract.ts'
import { unpacked } from './packages.ts'

const SELECTOR = 'bench'

/**
 * Postfix with OpenDKIM as its milter, unpacked into an overlay of this machine's files (nothing is installed). Tuned: no
 * client limits, no delay between queue managers, connections reused, the milter on a unix socket; its queue lies on the
 * same file system as Relevo's data.
 */
export class PostfixSubject implements Subject {
  readonly name = 'postfix+opendkim'
  readonly version: string
  readonly plainPort = 25
  readonly loginPort = 587
  readonly #directory: string
  readonly #overlay: string
  readonly #keys: ReadonlyMap<string, string>
  #process: ChildProcess | null = null

  constructor(directory: string) {
    this.#directory = join(directory, 'postfix-queue')
    // Layers of an overlay may not lie in the overlay itself: a file system of their own.
    this.#overlay = mkdtempSync(join(tmpdir(), 'relevo-bench-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1g', 'tmpfs', this.#overlay])
    for (const name of ['up', 'work', 'root']) mkdirSync(join(this.#overlay, name))
    const up = join(this.#overlay, 'up')
    for (const name of unpacked()) {
      cpSync(name, up, {
        recursive: true,
        verbatimSymlinks: true,
        filter: (path) => !path.startsWith(join(name, 'lib')),
      })
      if (existsSync(join(name, 'lib')))
        cpSync(join(name, 'lib'), join(up, 'usr/lib'), { recursive: true, verbatimSymlinks: true })
    }
    this.version = versionOf(up)
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    write(join(up, 'dkim.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600)
    const der = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
    this.#keys = new Map([[`${SELECTOR}._domainkey.${SENDER}`, `v=DKIM1; k=rsa; p=${der}`]])
    configure(up)
    const root = join(this.#overlay, 'root')
    execFileSync('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=/,upperdir=${up},workdir=${join(this.#overlay, 'work')}`,
      root,
    ])
    execFileSync('mount', ['--rbind', '/dev', join(root, 'dev')])
    execFileSync('mount', ['-t', 'proc', 'proc', join(root, 'proc')])
    for (const name of ['run', 'tmp']) execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(root, name)])
    mkdirSync(join(root, 'var/spool/postfix'), { recursive: true })
  }

  async start(group: string): Promise<void> {
    const root = join(this.#overlay, 'root')
    const { certFile, keyFile } = await certificate([HOST])
    copyFileSync(certFile, join(root, 'etc/postfix/cert.pem'))
    copyFileSync(keyFile, join(root, 'etc/postfix/key.pem'))
    rmSync(this.#directory, { recursive: true, force: true })
    mkdirSync(this.#directory, { recursive: true })
    const spool = join(root, 'var/spool/postfix')
    execFileSync('mount', ['--bind', this.#directory, spool])
    const script = `set -e
echo ${LOGIN.password} | saslpasswd2 -p -c -u ${SENDER} ${LOGIN.user.split('@')[0]}
chown postfix /etc/sasldb2; chmod 600 /etc/postfix/key.pem
rm -f /run/opendkim.sock /run/opendkim.pid
opendkim -x /etc/opendkim.bench.conf
exec /usr/sbin/postfix start-fg`
    const [program, args] = inside(group, ['chroot', root, 'sh', '-c', script])
    this.#process = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    for (let tries = 0; !(await listens(this.plainPort)); tries++) {
      if (tries > 200 || this.#process.exitCode !== null)
        throw new Error(`postfix did not start; see ${join(root, 'var/log/postfix.log')}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  keys(): ReadonlyMap<string, string> {
    return this.#keys
  }

  async stop(): Promise<void> {
    const root = join(this.#overlay, 'root')
    if (this.#process === null) return
    const ended = new Promise((resolve) => this.#process?.once('exit', resolve))
    execFileSync('chroot', [root, '/usr/sbin/postfix', 'stop'], { stdio: 'ignore' })
    await ended
    try {
      process.kill(Number(readFileSync(join(root, 'run/opendkim.pid'), 'utf8')))
    } catch {
      // It ended by itself.
    }
    await new Promise((resolve) => setTimeout(resolve, 300))
    execFileSync('umount', ['-l', join(root, 'var/spool/postfix')])
    this.#process = null
  }
}

function versionOf(up: string): string {
  const text = execFileSync('sh', [
    '-c',
    `strings -n 5 ${join(up, 'usr/lib/postfix/sbin/master')} 2>/dev/null | grep -m1 -oE 'mail_version=[0-9.]+' || true`,
  ])
  return text.toString().trim().replace('mail_version=', '')
}

function configure(up: string): void {
  const etc = join(up, 'etc')
  mkdirSync(join(etc, 'postfix/sasl'), { recursive: true })
  mkdirSync(join(up, 'var/log'), { recursive: true })
  mkdirSync(join(up, 'var/lib/postfix'), { recursive: true })
  let id = 7200
  const users = ['postfix', 'postdrop', 'opendkim'].map((name) => [name, id++] as const)
  const passwd = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter((line) => !users.some(([name]) => line.startsWith(`${name}:`)))
  const group = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .filter((line) => !users.some(([name]) => line.startsWith(`${name}:`)))
  write(
    join(etc, 'passwd'),
    `${[...passwd.filter(Boolean), ...users.map(([name, n]) => `${name}:x:${n}:${n}::/nonexistent:/usr/sbin/nologin`)].join('\n')}\n`,
  )
  write(
    join(etc, 'group'),
    `${[...group.filter(Boolean), ...users.map(([name, n]) => `${name}:x:${n}:`)].join('\n')}\n`,
  )
  write(join(etc, 'resolv.conf'), 'nameserver 127.0.0.1\n')
  write(join(etc, 'hosts'), `127.0.0.1 localhost ${HOST}\n`)
  write(
    join(etc, 'opendkim.bench.conf'),
    `Mode s
Domain ${SENDER}
Selector ${SELECTOR}
KeyFile /dkim.key
Socket local:/run/opendkim.sock
UMask 000
PidFile /run/opendkim.pid
Background yes
Syslog no
Canonicalization relaxed/relaxed
SignatureAlgorithm rsa-sha256
InternalHosts 127.0.0.0/8
RequireSafeKeys no
`,
  )
  write(
    join(etc, 'postfix/sasl/smtpd.conf'),
    'pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n',
  )
  write(
    join(etc, 'postfix/main.cf'),
    readFileSync(join(import.meta.dirname, 'postfix-main.cf'), 'utf8')
      .replaceAll('@HOST@', HOST)
      .replaceAll('@SENDER@', SENDER),
  )
  const master = readFileSync(join(up, 'usr/share/postfix/master.cf.dist'), 'utf8')
    // No chroots: the overlay is one already.
    .replace(/^([a-z]+ +(?:inet|unix) +[-ny] +[-ny] +)y/gm, '$1n')
    .replace(/^smtp( +)inet/m, '127.0.0.1:smtp$1inet')
  write(
    join(etc, 'postfix/master.cf'),
    `${master}
127.0.0.1:587 inet n - n - - smtpd
  -o smtpd_tls_security_level=may
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
  -o smtpd_recipient_restrictions=
`,
  )
  execFileSync('sh', [
    '-c',
    `chown 7200 ${join(up, 'var/lib/postfix')}; chgrp 7201 ${join(up, 'usr/sbin/postqueue')} ${join(up, 'usr/sbin/postdrop')}; chmod 2755 ${join(up, 'usr/sbin/postqueue')} ${join(up, 'usr/sbin/postdrop')}`,
  ])
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('data', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
    socket.setTimeout(2000, () => {
      socket.destroy()
      resolve(false)
    })
  })
}
