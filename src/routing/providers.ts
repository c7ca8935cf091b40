import { type Clock, EX, Fault, newId } from '#base'
import type { Records, Vault } from '#store'
import type { SmarthostSettings } from './contract.ts'

export type Provider = {
  readonly id: string
  readonly name: string
  readonly kind: 'own' | 'smarthost'
  /** Lower goes first. */
  readonly priority: number
  readonly weight: number
  /** Id of the provider that takes over from this one; null: the next by priority. */
  readonly fallback: string | null
  readonly active: boolean
  readonly smarthost: SmarthostSettings | null
}

export type NewProvider = {
  readonly name: string
  readonly host: string
  readonly port?: number
  readonly tls?: SmarthostSettings['tls']
  readonly username?: string
  readonly password?: string
  readonly caFile?: string
  readonly priority?: number
  readonly weight?: number
  /** Name of another provider. */
  readonly fallback?: string | null
}

export type ProviderChange = Partial<Omit<NewProvider, 'name'>> & { readonly active?: boolean }

type Stored = {
  host: string
  port: number
  tls: SmarthostSettings['tls']
  username: string
  password: string
  ca_file: string
}

const PURPOSE = 'provider-password'
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/

/** The ways mail can go. Always has `own`, direct delivery; changes hold at once, without a restart. */
export class Providers {
  readonly #records: Records
  readonly #vault: Vault
  readonly #clock: Clock
  #byPriority: readonly Provider[] = []

  private constructor(records: Records, vault: Vault, clock: Clock) {
    this.#records = records
    this.#vault = vault
    this.#clock = clock
  }

  static async open(records: Records, vault: Vault, clock: Clock): Promise<Providers> {
    const providers = new Providers(records, vault, clock)
    await providers.#load()
    if (!providers.#byPriority.some((provider) => provider.kind === 'own')) {
      await records.write(
        records.query.insertInto('providers').values({
          id: newId(clock.now()),
          name: 'own',
          kind: 'own',
          settings: '{}',
          priority: 10,
          weight: 1,
          fallback: null,
          active: 1,
          created_ms: clock.now(),
        }),
      )
      await providers.#load()
    }
    return providers
  }

  /** By priority, the strongest first. */
  list(): readonly Provider[] {
    return this.#byPriority
  }

  byName(name: string): Provider | undefined {
    return this.#byPriority.find((provider) => provider.name === name || provider.id === name)
  }

  async add(wanted: NewProvider): Promise<Provider> {
    if (!NAME.test(wanted.name))
      throw invalid(
        'name',
        `${JSON.stringify(wanted.name)} is not a provider name`,
        'Use small letters, digits, dot, hyphen and underscore, 63 at most.',
      )
    if (this.byName(wanted.name) !== undefined)
      throw invalid(
        'name',
        `a provider named ${wanted.name} is there already`,
        `Change it with: relevo provider set ${wanted.name}`,
      )
    const id = newId(this.#clock.now())
    const tls = wanted.tls ?? 'starttls'
    const stored = this.#stored({
      host: wanted.host,
      port: wanted.port ?? (tls === 'implicit' ? 465 : 587),
      tls,
      username: wanted.username ?? '',
      password: wanted.password ?? '',
      caFile: wanted.caFile ?? '',
    })
    await this.#records.write(
      this.#records.query.insertInto('providers').values({
        id,
        name: wanted.name,
        kind: 'smarthost',
        settings: JSON.stringify(stored),
        priority: whole('priority', wanted.priority ?? 20),
        weight: whole('weight', wanted.weight ?? 1),
        fallback: this.#fallback(id, wanted.fallback ?? null),
        active: 1,
        created_ms: this.#clock.now(),
      }),
    )
    await this.#load()
    return this.byName(id)!
  }

  async change(name: string, change: ProviderChange): Promise<Provider> {
    const provider = this.#known(name)
    const { smarthost } = provider
    const touched = [change.host, change.port, change.tls, change.username, change.password, change.caFile]
    if (smarthost === null && touched.some((value) => value !== undefined))
      throw invalid(
        'host',
        `${provider.name} delivers directly and has no host of its own`,
        'Change priority, weight, fallback or active only.',
      )
    const settings =
      smarthost === null
        ? '{}'
        : JSON.stringify(
            this.#stored({
              host: change.host ?? smarthost.host,
              port: change.port ?? smarthost.port,
              tls: change.tls ?? smarthost.tls,
              username: change.username ?? smarthost.username,
              password: change.password ?? smarthost.password,
              caFile: change.caFile ?? smarthost.caFile,
            }),
          )
    await this.#records.write(
      this.#records.query
        .updateTable('providers')
        .set({
          settings,
          priority: whole('priority', change.priority ?? provider.priority),
          weight: whole('weight', change.weight ?? provider.weight),
          fallback: change.fallback === undefined ? provider.fallback : this.#fallback(provider.id, change.fallback),
          active: (change.active ?? provider.active) ? 1 : 0,
        })
        .where('id', '=', provider.id),
    )
    await this.#load()
    return this.byName(provider.id)!
  }

  async remove(name: string): Promise<boolean> {
    const provider = this.byName(name)
    if (provider === undefined) return false
    if (provider.kind === 'own')
      throw invalid(
        'name',
        'direct delivery cannot be removed',
        `Stop using it with: relevo provider set ${provider.name} --inactive`,
      )
    const { query } = this.#records
    await this.#records.write(
      query.updateTable('providers').set({ fallback: null }).where('fallback', '=', provider.id),
      query.deleteFrom('providers').where('id', '=', provider.id),
    )
    await this.#load()
    return true
  }

  #known(name: string): Provider {
    const provider = this.byName(name)
    if (provider !== undefined) return provider
    throw invalid('name', `there is no provider ${JSON.stringify(name)}`, 'See them with: relevo provider list')
  }

  /** The id of the fallback named; a chain that comes back to where it began is refused. */
  #fallback(id: string, name: string | null): string | null {
    if (name === null || name === '') return null
    const first = this.#known(name)
    for (
      let next: Provider | undefined = first;
      next !== undefined;
      next = next.fallback === null ? undefined : this.byName(next.fallback)
    )
      if (next.id === id)
        throw invalid(
          'fallback',
          `the fallback ${name} leads back to this provider`,
          'Choose one whose own fallback chain does not come back here.',
        )
    return first.id
  }

  #stored(settings: SmarthostSettings): Stored {
    if (!/^[A-Za-z0-9.:_-]{1,253}$/.test(settings.host))
      throw invalid(
        'host',
        `${JSON.stringify(settings.host)} is not a host name or address`,
        'Give the name of the SMTP server, such as smtp.example.net.',
      )
    if (!Number.isInteger(settings.port) || settings.port < 1 || settings.port > 65_535)
      throw invalid('port', `${settings.port} is not a port`, 'Give a number from 1 to 65535; 587 and 465 are usual.')
    if (/[\r\n\0]/.test(settings.username + settings.password))
      throw invalid('username', 'a user name or password cannot contain line ends', 'Check what was pasted.')
    return {
      host: settings.host,
      port: settings.port,
      tls: settings.tls,
      username: settings.username,
      password: settings.password === '' ? '' : this.#vault.seal(settings.password, PURPOSE),
      ca_file: settings.caFile,
    }
  }

  async #load(): Promise<void> {
    const rows = await this.#records.read(
      this.#records.query.selectFrom('providers').selectAll().orderBy('priority').orderBy('name'),
    )
    this.#byPriority = rows.map((row) => {
      const stored = JSON.parse(row.settings) as Stored
      return {
        id: row.id,
        name: row.name,
        kind: row.kind,
        priority: row.priority,
        weight: row.weight,
        fallback: row.fallback,
        active: row.active === 1,
        smarthost:
          row.kind === 'own'
            ? null
            : {
                host: stored.host,
                port: stored.port,
                tls: stored.tls,
                username: stored.username,
                password:
                  stored.password === ''
                    ? ''
                    : Buffer.from(this.#vault.open(stored.password, PURPOSE)).toString('utf8'),
                caFile: stored.ca_file,
              },
      }
    })
  }
}

function whole(field: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 1_000_000) return value
  throw invalid(
    field,
    `${value} is not a whole number from 0 to 1000000`,
    'Lower priorities go first; weights share mail among equals.',
  )
}

function invalid(field: string, message: string, remedy: string): Fault {
  return new Fault(message, { code: 'invalid-provider', field, remedy, exitCode: EX.DATAERR })
}
