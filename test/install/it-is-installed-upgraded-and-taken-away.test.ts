import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '#world'
import { spawned } from '../cli/at-the-command-line.ts'
import { hasDebianOracle } from '../mail/debian-oracle.ts'
import { cutWhen, emptySystem, INSTALL, install, mayInstall, ROOT, tree } from './installer.ts'

/** What of this machine an installation would change. */
const HOST = ['/usr/lib/relevo', '/usr/bin/relevo', '/etc/relevo', '/usr/lib/systemd/system/relevo.service']

void t.test(
  'below another root: said first, installed, upgraded, cut, taken away; this machine stays as it is',
  async (t) => {
    t.setTimeout(170_000)
    if (!mayInstall(t)) return
    await using directory = await tempDir()
    const { path: root } = directory
    emptySystem(root)
    const users = readFileSync('/etc/passwd', 'utf8')
    const before = HOST.map((path) => existsSync(path))
    const options = ['--root', root, '--yes', '--hostname', 'mail.sender.test']

    const empty = tree(root)
    const said = await install(...options, '--dry-run')
    t.equal(said.code, 0, said.stderr)
    t.strictSame(tree(root), empty, 'a dry run changes nothing')

    const done = await install(...options)
    t.equal(done.code, 0, done.stderr)
    const steps = (output: string): string[] =>
      output
        .split('\n')
        .filter((line) => !/^(note|installing|upgrading|done|would start)/.test(line))
        .map((line) => line.replace(/^would /, '').replaceAll(/\d{14}/g, 'NOW'))
    t.strictSame(steps(said.stdout), steps(done.stdout), 'a dry run names each step, and no other')
    const version = readlinkSync(join(root, 'usr/lib/relevo'))
    t.match(version, /^relevo\.d\/\d+\.\d+\.\d+-\d{14}$/)
    t.match(
      readFileSync(join(root, 'etc/passwd'), 'utf8'),
      /^relevo:x:\d+:\d+:.*:\/var\/lib\/relevo:\/usr\/sbin\/nologin$/m,
    )
    t.match(
      readFileSync(join(root, 'etc/relevo/relevo.toml'), 'utf8'),
      /^mode = "sandbox"\nhostname = "mail.sender.test"$/m,
    )
    const modes = {
      'etc/relevo': 0o755,
      'etc/relevo/master.key': 0o600,
      'var/lib/relevo': 0o700,
      'var/backups/relevo': 0o700,
    }
    for (const [path, mode] of Object.entries(modes)) t.equal(statSync(join(root, path)).mode & 0o7777, mode, path)
    const owner = Number(/^relevo:x:(\d+)/m.exec(readFileSync(join(root, 'etc/passwd'), 'utf8'))?.[1])
    t.equal(statSync(join(root, 'var/lib/relevo')).uid, owner, 'the data is of the user relevo')
    const program = tree(join(root, 'usr/lib/relevo.d'))
    t.strictSame(
      program.filter((line) => !/->|(755|644) root$/.test(line)),
      [],
      'the program is of root, and nobody else writes it',
    )
    t.match(
      await spawned(join(root, 'usr/bin/relevo'), ['version']),
      { code: 0, stdout: /^relevo \d/ },
      'it runs on its own Node',
    )
    t.notOk(
      program.some((line) => /node_modules\/(typescript|tap|@biomejs)\b|prebuilds\/(win32|darwin)/.test(line)),
      'nothing of development',
    )

    const key = readFileSync(join(root, 'etc/relevo/master.key'), 'utf8')
    writeFileSync(join(root, 'etc/relevo/relevo.toml'), 'mode = "live"\n')
    writeFileSync(join(root, 'var/lib/relevo/mail'), 'kept')
    await cutWhen(() => existsSync(join(root, 'usr/lib/relevo.d/.partial/src/main.ts')), ...options)
    t.ok(existsSync(join(root, 'usr/lib/relevo.d/.partial')), 'an upgrade is cut')
    t.equal(readlinkSync(join(root, 'usr/lib/relevo')), version, 'the old version stands')
    t.match(await spawned(join(root, 'usr/bin/relevo'), ['version']), { code: 0 }, 'and is whole')

    const upgraded = await install(...options)
    t.equal(upgraded.code, 0, upgraded.stderr)
    t.match(upgraded.stdout, /^upgrading \d+\.\d+\.\d+ to /)
    const next = readlinkSync(join(root, 'usr/lib/relevo'))
    t.not(next, version)
    t.strictSame(
      readdirSync(join(root, 'usr/lib/relevo.d')).sort(),
      [version, next].map((path) => path.slice(9)).sort(),
      'what was cut is gone, the version before is kept',
    )
    t.equal(
      readFileSync(join(root, 'etc/relevo/relevo.toml'), 'utf8'),
      'mode = "live"\n',
      'the configuration is not touched',
    )
    t.equal(readFileSync(join(root, 'etc/relevo/master.key'), 'utf8'), key, 'nor is the key')

    t.equal((await install('--root', root, '--yes', '--uninstall')).code, 0)
    t.notOk(
      ['usr/lib/relevo', 'usr/lib/relevo.d', 'usr/bin/relevo', 'usr/lib/systemd/system/relevo.service'].some((path) =>
        existsSync(join(root, path)),
      ),
    )
    t.equal(readFileSync(join(root, 'var/lib/relevo/mail'), 'utf8'), 'kept')
    t.equal((await install('--root', root, '--yes', '--uninstall', '--purge')).code, 0)
    t.strictSame(
      tree(root).filter((line) => /relevo/.test(line)),
      [],
      'a purge leaves nothing',
    )
    t.notMatch(readFileSync(join(root, 'etc/passwd'), 'utf8'), /relevo/)

    t.equal(readFileSync('/etc/passwd', 'utf8'), users, 'the users of this machine are as they were')
    t.strictSame(
      HOST.map((path) => existsSync(path)),
      before,
      'and so is the rest of it',
    )
  },
)

void t.test('what it cannot do it says, with what to do instead', async (t) => {
  if (!mayInstall(t)) return
  await using directory = await tempDir()
  emptySystem(directory.path)
  const root = ['--root', directory.path, '--yes']
  const empty = tree(directory.path)
  for (const [args, code, words] of [
    [['--nonsense'], 64, '--nonsense is not known'],
    [['--hostname'], 64, '--hostname wants a value'],
    [['--root', '/nowhere/at/all'], 66, 'there is no directory /nowhere/at/all'],
    [['--root', 'here'], 64, '--root wants a path from / on'],
    [['--purge'], 64, '--purge goes with --uninstall'],
    [[...root, '--dry-run', '--hostname', 'mail.a.test"\nx = "'], 64, '--hostname cannot be'],
    [[...root, '--dry-run', '--hostname', 'mail.a.test', '--mode', 'fast'], 64, '--mode is sandbox or live'],
    [[...root, '--dry-run', '--hostname', 'mail', '--mode', 'live'], 64, 'mail is not a full host name'],
    [[...root, '--dry-run', '--hostname', 'mail.a.test', '--key', '/k'], 64, '--certificate and --key go together'],
  ] as const) {
    const seen = await install(...args)
    t.equal(seen.code, code, args.join(' '))
    t.match(seen.stderr, words)
  }
  t.strictSame(tree(directory.path), empty, 'and nothing was changed')
  const other = await spawned('setpriv', ['--reuid', '65534', '--clear-groups', 'sh', INSTALL, '--yes'])
  t.match(other, { code: 77, stderr: /root is needed; run: sudo/ })
})

void t.test('the unit is exposed less than 2.0, and V8 may make code', async (t) => {
  if (!hasDebianOracle(t, 'systemd', '/usr/bin/systemd-analyze')) return
  const unit = join(ROOT, 'systemd/relevo.service')
  const { stdout } = await spawned('systemd-analyze', ['security', '--offline=true', '--no-pager', unit])
  const exposure = Number(/Overall exposure level for relevo\.service: ([\d.]+)/.exec(stdout)?.[1])
  t.comment(`exposure ${exposure}`)
  t.ok(exposure <= 2, `${exposure}`)
  t.notMatch(readFileSync(unit, 'utf8'), /^MemoryDenyWriteExecute=/m)
})

void t.test('the Debian package holds the same program, the unit and the command', async (t) => {
  t.setTimeout(170_000)
  if (!hasDebianOracle(t, 'dpkg', '/usr/bin/dpkg-deb')) return
  await using directory = await tempDir()
  const built = await spawned('sh', [
    join(ROOT, 'scripts/build-deb.sh'),
    '--output',
    directory.path,
    '--compress',
    'none',
  ])
  t.equal(built.code, 0, built.stderr)
  const deb = built.stdout.trim()
  const { stdout: listed } = await spawned('dpkg-deb', ['--contents', deb])
  const held = listed.split('\n').map((line) => line.split(/\s+/).slice(5).join(' '))
  for (const path of [
    'usr/lib/relevo/src/main.ts',
    'usr/lib/systemd/system/relevo.service',
    'usr/bin/relevo -> ../lib/relevo/scripts/relevo',
    'usr/lib/relevo/scripts/install/configure.sh',
  ])
    t.ok(held.includes(`./${path}`), path)
  t.ok(
    held.some((path) => /node_modules\/node-linux-\w+\/bin\/node$/.test(path)),
    'its own runtime',
  )
  t.notOk(
    held.some((path) => /node_modules\/(typescript|tap|@biomejs)\b|prebuilds\/(win32|darwin)/.test(path)),
    'nothing of development',
  )
  t.strictSame(
    listed.split('\n').filter((line) => line !== '' && !/ root\/root /.test(line)),
    [],
    'all of root',
  )
  const { stdout: control } = await spawned('dpkg-deb', ['--field', deb, 'Package', 'Version', 'Depends'])
  t.match(control, /Package: relevo\nVersion: \d+\.\d+\.\d+\nDepends: .*libatomic1/)
})
