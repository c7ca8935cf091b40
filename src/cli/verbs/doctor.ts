import { EX, systemClock } from '#base'
import { certificate } from '../doctor/certificate.ts'
import type { Check, DaemonStatus, Patient } from '../doctor/check.ts'
import { daemon, domains } from '../doctor/installation.ts'
import { clock, disk, limits } from '../doctor/machine.ts'
import { blocklists, dns, names, outbound } from '../doctor/network.ts'
import { ports } from '../doctor/ports.ts'
import { clean } from '../output.ts'
import type { Command } from '../verb.ts'

const LOOKS: readonly ((patient: Patient) => readonly Check[] | Promise<readonly Check[]>)[] = [
  ...[daemon, disk, clock, limits, certificate, ports, dns, names, outbound, blocklists, domains],
]

export const doctor: Command = {
  summary: 'Looks at everything that delivery depends on, and says what to do; exit code 1 when something fails.',
  options: {
    probe: {
      type: 'string',
      multiple: true,
      value: 'HOST',
      help: 'a mail host to try port 25 at (default: MX hosts of large providers)',
    },
  },
  help: `Looked at: the daemon, the disk, the clock, limits, the certificate, every listening port, the name servers, the names of this
host (address, reverse name and back), port 25 of the world, blocklists (doctor.blocklists), and the DNS records of each
sending domain. Works without the daemon too. Nothing is changed. In sandbox mode nothing outside is asked but the name servers.`,
  async run(invocation) {
    const { args, out, io } = invocation
    const [config, api] = [await invocation.config(), await invocation.api()]
    const { askServer, nameServers } = await import('#delivery')
    const patient: Patient = {
      config,
      api,
      status: await api.get<DaemonStatus>('/status').catch(() => null),
      nowMs: systemClock.now(),
      ask: askServer(systemClock),
      resolvers: nameServers(config.delivery.dns_servers, systemClock),
      probes: args.texts('probe').length > 0 ? args.texts('probe') : config.doctor.probes,
    }
    const all: Check[] = []
    for (const look of LOOKS)
      for (const one of await look(patient)) {
        all.push(one)
        if (out.json) out.record(one)
        else
          io.stdout.write(
            `${clean(`${one.level.padEnd(8)}${one.area.padEnd(11)}${one.message}`)}\n${one.remedy === '' ? '' : `                   do: ${clean(one.remedy)}\n`}`,
          )
      }
    const failed = all.filter(({ level }) => level === 'fail').length
    const warned = all.filter(({ level }) => level === 'warn').length
    out.note(failed + warned === 0 ? 'all is well' : `${failed} failed, ${warned} to look at`)
    return failed === 0 ? EX.OK : EX.FAILURE
  },
}
