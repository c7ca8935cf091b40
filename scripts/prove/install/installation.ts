import { setTimeout as pause } from 'node:timers/promises'
import type { Machine } from './machine.ts'

export const HOSTNAME = 'mail.sender.test'
const NODE = '/src/node_modules/node-linux-$(uname -m | sed "s/x86_64/x64/;s/aarch64/arm64/")/bin/node'
const ARRIVES_MS = 60_000

/** What an installation is asked, however it came onto the machine. Each answer is what was seen, in words or numbers. */
export class Installation {
  readonly #machine: Machine

  constructor(machine: Machine) {
    this.#machine = machine
  }

  /** Live mode against the mail world of the machine. */
  async goLive(): Promise<void> {
    const { must } = this.#bound()
    await must(
      `(${NODE} /src/scripts/prove/install/mail-world.ts >/run/world 2>&1 &) ; while ! grep -q dns /run/world; do sleep 0.1; done`,
    )
    const { dns, mx } = JSON.parse((await must('head -n 1 /run/world')).trim()) as { dns: number; mx: number }
    await must(`sed -i 's/^mode = .*/mode = "live"/; s/^hostname = .*/hostname = "${HOSTNAME}"/' /etc/relevo/relevo.toml
cat >>/etc/relevo/relevo.toml <<'END'

[delivery]
port = ${mx}
dns_servers = ["127.0.0.1:${dns}"]
allow_networks = ["127.0.0.0/8"]
mta_sts = false
END
relevo config check && systemctl restart relevo && relevo domain add sender.test`)
  }

  /** As a user without rights, by sendmail. */
  async submit(recipient: string): Promise<void> {
    await this.#bound().must(
      `printf 'From: app@sender.test\\nTo: ${recipient}\\nSubject: hello\\n\\nhello\\n' | setpriv --reuid 65534 --clear-groups relevo sendmail -f app@sender.test ${recipient}`,
    )
  }

  /** That a mail arrives, signed. */
  async delivers(recipient: string): Promise<boolean> {
    await this.submit(recipient)
    return this.arrives(recipient)
  }

  async arrives(recipient: string): Promise<boolean> {
    const began = performance.now()
    while (performance.now() - began < ARRIVES_MS) {
      if ((await this.#machine.run(`grep ${recipient} /run/world | grep -q '"signed":true'`)).code === 0) return true
      await pause(200)
    }
    return false
  }

  /** How often the mail that waits for its host stands in the queue. */
  async waiting(): Promise<number> {
    const listed = await this.#bound().must('relevo queue list --json --status scheduled,ready,leased,deferred,held')
    return listed.split('waits@later.test').length - 1
  }

  async version(): Promise<string> {
    return (JSON.parse(await this.#bound().must('relevo status --json')) as { version: string }).version
  }

  property(name: string): Promise<string> {
    return this.#bound().must(`systemctl show relevo --value -p ${name}`)
  }

  /** How the unit holds the process: user, capabilities, system calls, and what it may write. */
  async confinement(): Promise<Record<string, string | boolean>> {
    const { must } = this.#bound()
    const pid = await this.property('MainPID')
    const status = await must(`cat /proc/${pid}/status`)
    const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? ''
    const inside = (command: string): Promise<{ code: number }> => this.#machine.run(`nsenter -t ${pid} -m ${command}`)
    const exposure = await must('systemd-analyze security relevo --no-pager | tail -n 1')
    return {
      root: field('Uid') === '0',
      capabilities: field('CapEff'),
      noNewPrivileges: field('NoNewPrivs') === '1',
      systemCallsFiltered: field('Seccomp') === '2',
      writesProgram: (await inside('touch /usr/lib/relevo/x')).code === 0,
      writesConfiguration: (await inside('touch /etc/relevo/x')).code === 0,
      keyIsCredential: (await must(`tr '\\0' '\\n' </proc/${pid}/environ`)).includes('CREDENTIALS_DIRECTORY='),
      keyBesideTheMail: (await this.#machine.run('test -e /var/lib/relevo/master.key')).code === 0,
      compiledCodeKept: (await this.#machine.run('ls /var/cache/relevo/compiled-*')).code === 0,
      exposure: /: ([\d.]+)/.exec(exposure)?.[1] ?? exposure,
    }
  }

  /** Seconds from `systemctl stop` to its end, with a connection that drips. */
  async stopTakes(): Promise<number> {
    const { must } = this.#bound()
    await this.submit('drip@tarpit.test')
    await pause(2000)
    const began = performance.now()
    await must('systemctl stop relevo')
    const tookS = (performance.now() - began) / 1000
    const result = await this.property('Result')
    await must('systemctl start relevo')
    if (result !== 'success') throw new Error(`the stop ended with ${result}`)
    return tookS
  }

  /** A process that stands still is found by its watchdog and started anew: seconds. */
  async watchdogTakes(allowedS: number): Promise<number> {
    const { must } = this.#bound()
    await must(`mkdir -p /run/systemd/system/relevo.service.d
printf '[Service]\\nWatchdogSec=${allowedS}\\n' >/run/systemd/system/relevo.service.d/watchdog.conf
systemctl daemon-reload && systemctl restart relevo`)
    const pid = await this.property('MainPID')
    await pause(allowedS * 1500)
    if ((await this.property('MainPID')) !== pid) throw new Error('the watchdog ended a process that was well')
    const began = performance.now()
    await must(`kill -STOP ${pid}`)
    for (let now = pid; now === pid || now === '0'; now = await this.property('MainPID')) {
      if (performance.now() - began > 120_000) throw new Error('a process that stands still is left alone')
      await pause(250)
    }
    const tookS = (performance.now() - began) / 1000
    await must('journalctl -u relevo --no-pager | grep -q "Watchdog timeout"')
    await must(`rm -r /run/systemd/system/relevo.service.d && systemctl daemon-reload && systemctl restart relevo`)
    return tookS
  }

  #bound(): Pick<Machine, 'must'> {
    return { must: (script) => this.#machine.must(script) }
  }
}
