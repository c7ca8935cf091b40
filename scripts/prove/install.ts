// Relevo is installed on a bare Debian and run by its systemd: `node scripts/prove/install.ts --help`.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { getuid } from 'node:process'
import { parseArgs } from 'node:util'
import { HOSTNAME, Installation } from './install/installation.ts'
import { debianRoot, Machine } from './install/machine.ts'

const ROOT = join(import.meta.dirname, '../..')
const HELP = `usage: node scripts/prove/install.ts [options]
A Debian is made by debootstrap and booted by systemd-nspawn, with its own systemd and no network but loopback. Relevo is installed on
it, by scripts/install.sh and by the Debian package; delivers mail; is looked at from outside, reloaded, stopped while a mail host
drips, stopped still until its watchdog finds it; upgraded, upgraded to a version that does not start, taken away. Root is needed.

  --release NAME   a Debian release, several times for several (default bookworm and trixie)
  --by HOW         installer or package (default both)
  --cache DIR      where bare systems are kept (default .cache/debian-roots)
  --json           the result as one line of JSON at the end`

const { values } = parseArgs({
  options: {
    release: { type: 'string', multiple: true, default: ['bookworm', 'trixie'] },
    by: { type: 'string', multiple: true, default: ['installer', 'package'] },
    cache: { type: 'string', default: join(ROOT, '.cache/debian-roots') },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const failures: string[] = []
const figures: Record<string, unknown> = {}
let part = ''

function holds(what: string, is: boolean, seen?: unknown): void {
  console.log(`  ${is ? 'ok  ' : 'NOT '} ${what}${seen === undefined ? '' : `: ${JSON.stringify(seen)}`}`)
  if (!is) failures.push(`${part}: ${what}`)
}

/** What must hold of a service, however it was installed. */
async function inspect(machine: Machine): Promise<Installation> {
  const relevo = new Installation(machine)
  await relevo.goLive()
  holds('a mail of a user without rights arrives, signed', await relevo.delivers('one@good.test'))
  const seen = await relevo.confinement()
  figures[`${part}, confinement`] = seen
  const { exposure, ...rest } = seen
  holds(`exposure ${String(exposure)} is 2.0 at most`, Number(exposure) <= 2)
  const wanted = {
    ...{ root: false, capabilities: '0000000000000400', noNewPrivileges: true, systemCallsFiltered: true },
    ...{ writesProgram: false, writesConfiguration: false, keyIsCredential: true, keyBesideTheMail: false },
    compiledCodeKept: true,
  }
  for (const [name, value] of Object.entries(wanted)) holds(`${name} is ${value}`, rest[name] === value, rest[name])
  const pid = await relevo.property('MainPID')
  await machine.must('systemctl reload relevo')
  holds('a reload keeps the process', (await relevo.property('MainPID')) === pid, await relevo.property('StatusText'))
  const stopS = await relevo.stopTakes()
  figures[`${part}, stop`] = `${stopS.toFixed(1)} s`
  holds('it stops within ten seconds while a mail host drips', stopS < 10, `${stopS.toFixed(1)} s`)
  const watchdogS = await relevo.watchdogTakes(6)
  figures[`${part}, watchdog of 6 s`] = `${watchdogS.toFixed(1)} s`
  holds('its watchdog finds it when it stands still', true, `${watchdogS.toFixed(1)} s`)
  await relevo.submit('waits@later.test')
  return relevo
}

/** A source like the installed one, of another version. */
function copyAs(version: string, more = ':'): string {
  return `rm -rf /root/next && cp -a /usr/lib/relevo/. /root/next && cd /root/next &&
sed -i 's/^  "version": ".*"/  "version": "${version}"/' package.json && ${more}`
}
const BROKEN = `sed -i "s/  log.info({ mode: config.mode, hostname: config.hostname, data_dir: directory.*relevo is ready')/throw new Error('broken on purpose')/" src/daemon.ts && grep -q 'broken on purpose' src/daemon.ts`
const NEWER_STORE = `sed -i "s/migrations: \\[\\] as const/migrations: ['CREATE TABLE of_a_newer_version (x)'] as const/" src/suppression/index.ts && grep -q of_a_newer_version src/suppression/index.ts`

async function byInstaller(base: string): Promise<void> {
  await using machine = await Machine.boot(base, values.cache, [`${ROOT}:/src`])
  const said = await machine.must(`/src/scripts/install.sh --yes --dry-run --hostname ${HOSTNAME}`)
  holds('a dry run changes nothing', (await machine.run('test -e /etc/relevo')).code !== 0, said.split('\n').length)
  await machine.must(`/src/scripts/install.sh --yes --hostname ${HOSTNAME}`)
  const relevo = await inspect(machine)
  const waiting = await relevo.waiting()

  const upgrade = '/root/next/scripts/install.sh --yes'
  await machine.must(`${copyAs('90.1.0')} && ${upgrade}`)
  holds('an upgrade runs the new version', (await relevo.version()) === '90.1.0')
  holds('with the mail that waited', (await relevo.waiting()) === waiting && waiting > 0, waiting)
  holds('and has kept a copy', (await machine.run('ls /var/backups/relevo/before-90.1.0-*/manifest.json')).code === 0)

  await machine.must(copyAs('90.2.0', BROKEN))
  const broken = await machine.run(upgrade)
  holds('a version that does not start is told', broken.code === 1, broken.stderr.trim().split('\n').at(-1))
  holds('and the one before runs again', (await relevo.version()) === '90.1.0' && (await relevo.waiting()) === waiting)
  holds('and delivers', await relevo.delivers('two@good.test'))

  await machine.must(copyAs('90.3.0', `${NEWER_STORE} && ${BROKEN}`))
  const newer = await machine.run(upgrade)
  holds('so is one that had changed the store', newer.code === 1, newer.stderr.trim().split('\n').at(-1))
  holds(
    'its backup is brought back, its mail held',
    (await relevo.version()) === '90.1.0' && (await relevo.waiting()) === waiting,
  )
  holds('and it delivers', await relevo.delivers('three@good.test'))

  await machine.must(
    `${copyAs('90.4.0')} && { ${upgrade} & sleep 1; kill -KILL $!; wait; test -e /usr/lib/relevo.d/.partial; }`,
  )
  holds('an upgrade that is cut leaves the old one', (await relevo.version()) === '90.1.0')
  await machine.must(upgrade)
  holds('and can be done again', (await relevo.version()) === '90.4.0')

  await machine.must('/usr/lib/relevo/scripts/install.sh --uninstall --yes')
  const left = await machine.must('ls -d /etc/relevo /var/lib/relevo /usr/lib/relevo* /usr/bin/relevo 2>/dev/null || :')
  holds('taken away, configuration and mail stay', left === '/etc/relevo\n/var/lib/relevo', left.split('\n'))
  await machine.must(`/src/scripts/install.sh --yes`)
  holds('installed again, the mail is there', (await relevo.waiting()) >= waiting)
  await machine.must('/usr/lib/relevo/scripts/install.sh --uninstall --purge --yes')
  const after = await machine.must(
    'find / -xdev -name "*relevo*" -not -path "/proc/*" -not -path "/root/*" -not -path "/var/log/*"; getent passwd relevo || :',
  )
  holds('a purge leaves nothing', after === '', after)
}

async function byPackage(base: string): Promise<void> {
  const directory = mkdtempSync(join(values.cache, 'package-'))
  try {
    console.log('  builds the package')
    const built = execFileSync('sh', [join(ROOT, 'scripts/build-deb.sh'), '--output', directory, '--compress', 'none'])
    const deb = `/debs/${built.toString().trim().split('/').at(-1)}`
    await using machine = await Machine.boot(base, values.cache, [`${ROOT}:/src`, `${directory}:/debs`])
    // As another mail server would.
    await machine.must(
      `(python3 -c 'import socket,time; s=socket.create_server(("0.0.0.0",25)); time.sleep(1e6)' >/dev/null 2>&1 &) ; sleep 1; dpkg -i ${deb} >/root/said 2>&1`,
    )
    const said = await machine.must('grep -A3 "has port 25" /root/said')
    holds('another mail server on port 25 is told of, with what can be done', /2525/.test(said), said.split('\n')[0])
    const relevo = await inspect(machine)
    const waiting = await relevo.waiting()
    await machine.must(`dpkg-deb -R ${deb} /root/next && sed -i 's/^Version: .*/Version: 90.1.0/' /root/next/DEBIAN/control &&
sed -i 's/^  "version": ".*"/  "version": "90.1.0"/' /root/next/usr/lib/relevo/package.json && dpkg-deb -Znone -b /root/next /root/next.deb && dpkg -i /root/next.deb`)
    holds('an upgrade runs the new version', (await relevo.version()) === '90.1.0')
    holds('with the mail that waited', (await relevo.waiting()) === waiting && waiting > 0, waiting)
    holds('and has kept a copy', (await machine.run('ls /var/backups/relevo/before-90.1.0-*/manifest.json')).code === 0)
    const mixed = await machine.run('/src/scripts/install.sh --yes')
    holds('the installer leaves a package alone', mixed.code === 73, mixed.stderr.trim())
    await machine.must('dpkg -r relevo')
    holds(
      'removed, the mail stays',
      (await machine.run('test -e /var/lib/relevo/relevo.db && ! test -e /usr/bin/relevo')).code === 0,
    )
    await machine.must('dpkg -P relevo')
    const after = await machine.must(
      'ls -d /etc/relevo /var/lib/relevo /var/backups/relevo /usr/lib/relevo 2>/dev/null || :; getent passwd relevo || :',
    )
    holds('a purge leaves nothing', after === '', after)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

if (values.help) console.log(HELP)
else if (getuid?.() !== 0 || !existsSync('/usr/bin/systemd-nspawn') || !existsSync('/usr/sbin/debootstrap')) {
  console.error('this needs root and: apt-get install debootstrap systemd-container')
  process.exitCode = 69
} else {
  for (const release of values.release) {
    console.log(`${release}: a bare system`)
    const base = debianRoot(values.cache, release)
    for (const how of values.by) {
      part = `${release} by ${how}`
      console.log(part)
      await (how === 'package' ? byPackage(base) : byInstaller(base))
    }
  }
  console.log(failures.length === 0 ? 'held' : `NOT HELD: ${failures.join('; ')}`)
  if (values.json) console.log(JSON.stringify({ held: failures.length === 0, failures, figures }))
  process.exitCode = failures.length === 0 ? 0 : 1
}
