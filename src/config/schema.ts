import type { Static } from 'typebox'
import { Type } from '#base'

// The schema is the manual: each key carries its sentence, unit and default; validation, `relevo config explain`,
// `relevo config schema` and the annotated sample are all made from it. Beside JSON Schema's own words a key may carry
// `unit` (of its number), `format` (what its text must be, see check-format.ts; a text that is empty by default may be, and
// one with `off`, for which it means that) and `live` (a reload changes it).

type Marks = { unit?: string; format?: Format; live?: true; off?: true }
export type Format =
  | 'cidr'
  | 'cron'
  | 'dns-server'
  | 'domain'
  | 'ip'
  | 'listen'
  | 'mailbox'
  | 'path'
  | 'readable-file'
  | 'secret-file'
  | 'shared-secret-file'

const port = (description: string, fallback: number) =>
  Type.Integer({ minimum: 1, maximum: 65535, default: fallback, description })
const whole = (
  description: string,
  fallback: number,
  minimum = 0,
  maximum = Number.MAX_SAFE_INTEGER,
  marks: Marks = {},
) => Type.Integer({ minimum, maximum, default: fallback, description, ...marks })
const bytes = (description: string, fallback: number, minimum = 0, maximum = Number.MAX_SAFE_INTEGER) =>
  whole(description, fallback, minimum, maximum, { unit: 'bytes' })
const days = (description: string, fallback: number, minimum: number, maximum: number) =>
  whole(description, fallback, minimum, maximum, { unit: 'days' })
const seconds = (description: string, fallback: number, minimum = 1) =>
  Type.Number({ minimum, maximum: 31_536_000, default: fallback, description, unit: 'seconds' })
const share = (description: string, fallback: number) =>
  Type.Number({ minimum: 0, maximum: 1, default: fallback, description, unit: 'as a share of the whole' })
const text = (description: string, fallback: string, marks: Marks = {}) =>
  Type.String({ default: fallback, description, ...marks })
const yes = (description: string, fallback: boolean) => Type.Boolean({ default: fallback, description })
const list = (description: string, fallback: string[], format: Format) =>
  Type.Array(Type.String({ minLength: 1, format }), { default: fallback, description })
const choice = <const T extends readonly string[]>(
  description: string,
  values: T,
  fallback: T[number],
  marks: Marks = {},
) => Type.Enum([...values] as T[number][], { default: fallback, description, ...marks })
const section = <T extends Parameters<typeof Type.Object>[0]>(description: string, properties: T) =>
  Type.Object(properties, { additionalProperties: false, default: {}, description })

export const ConfigSchema = Type.Object(
  {
    mode: choice(
      'Whether mail may leave this machine: "sandbox" delivers everything to the built-in sink, "live" to the recipients. Required once there is a configuration file.',
      ['sandbox', 'live'],
      'sandbox',
    ),
    hostname: text(
      'The name of this host as other mail servers see it: EHLO, Received, Message-ID, postmaster.',
      'localhost',
      { format: 'domain' },
    ),
    data_dir: text(
      'Where the queue, the records and the keys are kept. A local file system, owned by the user Relevo runs as.',
      '/var/lib/relevo',
      { format: 'path' },
    ),
    submission: section('How applications hand in mail by SMTP (RFC 6409).', {
      starttls_listen: list(
        'Addresses for submission with STARTTLS, as address:port.',
        ['0.0.0.0:587', '[::]:587'],
        'listen',
      ),
      tls_listen: list(
        'Addresses for submission over implicit TLS (RFC 8314), as address:port.',
        ['0.0.0.0:465', '[::]:465'],
        'listen',
      ),
      trusted_listen: list(
        'Addresses that take mail without authentication from trusted_networks. None by default.',
        [],
        'listen',
      ),
      trusted_networks: list('Networks (CIDR) that may submit on trusted_listen without authentication.', [], 'cidr'),
      trusted_domains: list('Sending domains that trusted_networks may use.', [], 'domain'),
      max_message_bytes: bytes('The largest message taken, announced by SIZE (RFC 1870).', 52_428_800, 1024),
      max_recipients: whole('The most recipients in one transaction.', 1000, 1, 50_000),
      suppressed: choice(
        'What a suppressed recipient gets at RCPT: "refuse" answers 550 with the reason, "record" accepts it and records it as suppressed.',
        ['refuse', 'record'],
        'refuse',
      ),
      hide_client_address: yes('Leave the client address out of the Received field.', false),
      max_connections: whole('The most sessions at one time, all listeners together.', 1000, 1),
      max_connections_per_address: whole('The most sessions at one time from one client address.', 100, 1),
      max_failed_logins: whole(
        'Failed log-ins from one address within ten minutes before it is turned away with 421.',
        10,
        1,
      ),
      max_errors: whole('Commands answered with an error before the session is ended with 421.', 20, 1),
      idle_timeout: seconds('A session without a command for this long is ended.', 300),
      max_backlog: whole(
        'Messages accepted but not yet signed and handed to delivery before acceptance slows down.',
        2000,
        1,
      ),
    }),
    local: section('How programs of this machine hand in mail: cron, PHP, monitoring, by `relevo sendmail`.', {
      enabled: yes('Whether they may.', true),
      socket: text(
        'Path of their unix socket, which every user of this machine can open; its directory must let them in. Empty: submit.sock in data_dir.',
        '',
        { format: 'path' },
      ),
      domains: list('Sending domains that they may use. Empty: all.', [], 'domain'),
      origin: text(
        'The sending domain that bare names such as root or www-data get. Empty: the sending domain that the host name is or lies below.',
        '',
        { format: 'domain' },
      ),
      bare_recipients: text(
        'Where mail to a bare name goes, such as that of cron to root. Empty: to the name at the origin.',
        '',
        { format: 'mailbox' },
      ),
    }),
    inbound: section('The listener for what comes back: bounces, complaints, postmaster mail. It never relays.', {
      listen: list('Addresses of the listener, as address:port.', ['0.0.0.0:25', '[::]:25'], 'listen'),
      max_message_bytes: bytes('The largest message taken.', 10_485_760, 1024),
      max_connections: whole('The most sessions at one time.', 100, 1),
      idle_timeout: seconds('A session without a command for this long is ended (RFC 5321 §4.5.3.2.7).', 300),
      local_domains: list(
        'Domains whose postmaster and abuse mail is taken, besides hostname and the sending domains.',
        [],
        'domain',
      ),
      forward_to: text(
        'Where postmaster and abuse mail is sent on to, as an attachment. Empty: it is stored and listed only.',
        '',
        { format: 'mailbox' },
      ),
      forward_per_hour: whole('The most postmaster and abuse mails sent on in an hour.', 20),
    }),
    http: section('The HTTP API.', {
      listen: list(
        'Addresses of the API, as address:port. Loopback unless TLS is configured or a proxy stands in front.',
        ['127.0.0.1:8025'],
        'listen',
      ),
      max_body_bytes: bytes('The largest request body.', 73_400_320, 1024),
      max_connections: whole('The most connections at one time, to each address.', 500, 1),
    }),
    metrics: section('Metrics and health for monitoring.', {
      listen: text('Address of /metrics, /healthz and /readyz, as address:port. Empty: off.', '127.0.0.1:9464', {
        format: 'listen',
        off: true,
      }),
    }),
    control: section('The local API that the relevo command talks to.', {
      socket: text('Path of the unix socket. Empty: control.sock in data_dir.', '', { format: 'path' }),
    }),
    tls: section('The certificate that the listeners show.', {
      certificate_file: text('PEM file with the certificate and its chain.', '', {
        format: 'readable-file',
        live: true,
      }),
      key_file: text('PEM file with the private key.', '', { format: 'shared-secret-file', live: true }),
      min_version: choice('The oldest TLS version the listeners speak.', ['TLSv1.2', 'TLSv1.3'], 'TLSv1.2', {
        live: true,
      }),
    }),
    queue: section('How mail is kept until every recipient is settled.', {
      retention_days: days(
        'Settled messages, events, and bounces that were read are removed after this many days.',
        30,
        1,
        3650,
      ),
      keep_bodies: yes(
        'Keep message contents until the retention ends, not only until the last recipient is settled.',
        false,
      ),
      inline_max_bytes: bytes(
        'Contents up to this size stay in the row; larger ones go to segment files.',
        16_384,
        0,
        1_048_576,
      ),
      segment_bytes: bytes('The size at which a segment file is closed and the next begun.', 67_108_864, 1_048_576),
      lease: seconds(
        'How long one attempt may hold a recipient before it is taken back; longer than the deadlines of delivery together.',
        7200,
        30,
      ),
      min_free_bytes: bytes('Free space on the data directory below which new mail is answered 452.', 104_857_600),
      cleanup: text(
        'When settled mail past its retention is removed, as a cron expression in local time.',
        '0 2 * * *',
        { format: 'cron' },
      ),
    }),
    delivery: section('How mail is delivered to the recipients’ MX hosts.', {
      port: port('The port of the MX hosts. 25 everywhere except in tests.', 25),
      lifetime: seconds('How long a message is tried before it bounces (RFC 5321 §4.5.4.1).', 345_600, 60),
      retry_after: Type.Array(Type.Number({ minimum: 1, maximum: 604_800 }), {
        default: [300, 900, 1800, 3600, 7200, 14_400, 28_800],
        minItems: 1,
        unit: 'seconds',
        description: 'The waits between attempts; the last one repeats until the lifetime ends.',
      }),
      relay_retry_after: Type.Array(Type.Number({ minimum: 1, maximum: 604_800 }), {
        default: [300, 900, 1800],
        minItems: 1,
        unit: 'seconds',
        description:
          'The waits after a relay deferred this message (a 4yz answer). The answer after the last of them bounces: a relay has queued for days itself.',
      }),
      max_attempts: whole(
        'Attempts answered with a transient reply before the recipient bounces. 0: no limit but the lifetime.',
        0,
      ),
      uncertain_attempts: whole(
        'Attempts whose end stayed ambiguous (connection lost after the final dot) before the recipient ends as uncertain.',
        3,
        1,
        10,
      ),
      max_connections: whole('The most connections to MX hosts at one time.', 500, 1, 20_000),
      connections_per_site: whole(
        'The most connections to one site (same set of MX hosts) at one time, unless shaping says less.',
        20,
        1,
        1000,
      ),
      messages_per_connection: whole('The most messages over one connection, unless shaping says less.', 100, 1),
      connection_idle: seconds('An idle connection is kept this long for the next message.', 30),
      max_mx_hosts: whole('The most MX addresses tried in one attempt.', 5, 1, 20),
      connect_timeout: seconds('Deadline for the TCP connection.', 30),
      banner_timeout: seconds('Deadline for the greeting (RFC 5321 §4.5.3.2.1).', 300),
      ehlo_timeout: seconds('Deadline for the answer to EHLO.', 300),
      tls_timeout: seconds('Deadline for STARTTLS and the handshake.', 60),
      mail_timeout: seconds('Deadline for the answer to MAIL (RFC 5321 §4.5.3.2.2).', 300),
      rcpt_timeout: seconds('Deadline for the answer to RCPT (RFC 5321 §4.5.3.2.3).', 300),
      data_timeout: seconds('Deadline for the answer to DATA (RFC 5321 §4.5.3.2.4).', 120),
      body_timeout: seconds('Deadline for sending the content.', 600),
      dot_timeout: seconds('Deadline for the answer to the final dot (RFC 5321 §4.5.3.2.6).', 600),
      tls: choice(
        'STARTTLS with MX hosts that publish nothing better: "opportunistic" uses it where offered and falls back to clear text, "require" never sends in clear, "off" never asks, nor heeds what is published.',
        ['opportunistic', 'require', 'off'],
        'opportunistic',
      ),
      ip: choice('Which address families are used towards MX hosts.', ['both', 'ipv4', 'ipv6'], 'both'),
      allow_networks: list(
        'Networks (CIDR) that mail may be delivered to although they are loopback, private or special.',
        [],
        'cidr',
      ),
      dns_servers: list(
        'Name servers to ask, as address or address:port. Empty: those of the system.',
        [],
        'dns-server',
      ),
      delay_notice: seconds(
        'A sender that asked to be told of delay (NOTIFY=DELAY, RFC 3461) is told once, when a message will wait longer than this. 0: never.',
        14_400,
        0,
      ),
      dnssec_servers: list(
        'Addresses of name servers whose DNSSEC validation (AD bit) is believed besides those on loopback. Only validating resolvers reached over a network nobody else can write to.',
        [],
        'ip',
      ),
      dane: yes(
        'Heed the TLSA records of MX hosts (DANE, RFC 7672). Takes a validating resolver on loopback or in dnssec_servers; without one it does nothing.',
        true,
      ),
      mta_sts: yes('Fetch and heed the MTA-STS policies of recipient domains (RFC 8461).', true),
      mta_sts_port: port('The port of the policy hosts. 443 everywhere except in tests.', 443),
      ca_file: text(
        'PEM file with authorities that are believed besides the ones that come with Relevo, where a certificate is verified: MTA-STS, its policy hosts, REQUIRETLS, policy "verify".',
        '',
        { format: 'readable-file' },
      ),
      dsn: choice(
        'When a sender gets a delivery status notification: "requested" if the client asked by NOTIFY, "failure" also of each final failure where it said nothing, "never".',
        ['requested', 'failure', 'never'],
        'requested',
      ),
    }),
    sources: Type.Array(
      Type.Object(
        {
          address: Type.String({
            description: 'The local IP address that connections start from.',
            format: 'ip',
            examples: ['192.0.2.25'],
          }),
          ehlo: Type.String({
            examples: ['mail.example.com'],
            description: 'The name given in EHLO from this address; its PTR and A records should agree.',
            format: 'domain',
          }),
        },
        { additionalProperties: false },
      ),
      {
        default: [],
        description: 'Source addresses for direct delivery. None: the system chooses, and hostname is the EHLO name.',
      },
    ),
    tls_policies: Type.Array(
      Type.Object(
        {
          domain: Type.String({
            description: 'The recipient domain, or *.example.com for all domains below it.',
            examples: ['example.com'],
          }),
          policy: Type.Enum(['none', 'opportunistic', 'required', 'verify', 'dane'], {
            description:
              '"none": clear text. "opportunistic": TLS where offered, whatever the domain publishes. "required": TLS or wait, and what it publishes. "verify": a certificate of an authority for the MX host or one of names. "dane": TLSA records or wait.',
            examples: ['verify'],
          }),
          names: Type.Array(Type.String({ minLength: 1 }), {
            default: [],
            description: 'With "verify": the names of which the certificate must show one, instead of the MX host.',
          }),
        },
        { additionalProperties: false },
      ),
      {
        default: [],
        description:
          'How mail to single domains is secured, whatever they publish. Without an entry: DANE, else MTA-STS, else delivery.tls.',
      },
    ),
    return_path: section('The return path by which bounces find their recipient.', {
      mode: choice(
        '"recipient": one token and one transaction a recipient. "message": one token a message, several recipients a transaction.',
        ['recipient', 'message'],
        'recipient',
      ),
      valid_days: days('How long a bounce is still believed after the message was accepted.', 30, 1, 365),
    }),
    dkim: section('Signing.', {
      sign: yes('Sign outgoing mail with the keys of its sending domain.', true),
      change_over: seconds(
        'How long a new key stands in the DNS before it signs (relevo dkim rotate), unless said otherwise.',
        172_800,
        0,
      ),
      retire_after: seconds(
        'How long the last key stays published after the last message it signed is settled here: it may still be on its way.',
        604_800,
        0,
      ),
    }),
    dns: section('The DNS records of the sending domains, and looking after them.', {
      public_addresses: list(
        'The addresses by which the Internet sees this host, where it does not have them itself (NAT). Empty: those of sources, or of its interfaces.',
        [],
        'ip',
      ),
      report_address: text(
        'Where DMARC and TLS reports are asked for. Empty: reports@ the bounce host of each domain.',
        '',
        { format: 'mailbox' },
      ),
      check: text(
        'When the records of all domains are compared with the DNS, as a cron expression in local time; a record that is lost raises an alert. Not in sandbox mode. Empty: never.',
        '30 6 * * *',
        { format: 'cron', off: true },
      ),
      authority_port: port('The port of authoritative name servers. 53 everywhere except in tests.', 53),
    }),
    doctor: section('What `relevo doctor` asks others.', {
      blocklists: list(
        'DNS blocklists that the addresses of this host are looked for on (RFC 5782).',
        ['zen.spamhaus.org', 'bl.spamcop.net', 'b.barracudacentral.org'],
        'domain',
      ),
      probes: list('Mail hosts that port 25 is tried at. Empty: MX hosts of large mailbox providers.', [], 'domain'),
    }),
    limits: section('Where rates and concurrency are counted.', {
      driver: choice(
        '"process" for one machine, "redis" to share limits between several.',
        ['process', 'redis'],
        'process',
      ),
      redis_url_file: text('File with the Redis URL (redis://user:password@host:port/db).', '', {
        format: 'shared-secret-file',
      }),
      nodes: whole('How many nodes share the limits: while Redis is away each uses its share.', 1, 1, 1000),
    }),
    routing: section('Who carries the mail.', {
      breaker_failures: whole('Infrastructure failures in a row that open the breaker of a provider.', 5, 1),
      breaker_open: seconds('How long an open breaker keeps mail away before one probe is let through.', 300),
      health_interval: seconds('How often each provider’s health is checked.', 300, 5),
      health_timeout: seconds('The limit of one health check.', 10),
    }),
    reputation: section('How own delivery stands at each mailbox provider, per source address.', {
      window: seconds('The sliding window that outcomes are counted over.', 900, 10),
      min_samples: whole('Outcomes in the window below which no verdict is given.', 20, 1),
      block_share: share(
        'Share of block-class replies from which own delivery is paused for that mailbox provider.',
        0.2,
      ),
      deferral_share: share('Share of deferrals from which it is degraded.', 0.5),
      recover_share: share('Share of bad outcomes under which recovery may go on (hysteresis).', 0.05),
      pause: seconds('How long a paused one waits before the first probes.', 900),
      probe_share: share(
        'The first share of mail that probes a paused mailbox provider directly; it doubles on good results.',
        0.02,
      ),
      probe_samples: whole('Good outcomes needed before the probe share doubles.', 10, 1),
    }),
    warmup: section('How a new source address is warmed up.', {
      enabled: yes('Hold direct delivery to the volumes of warmup.toml until an address is warm.', false),
      overflow: choice(
        'What is over the day’s volume: "wait" for the next day, or go by the "relay".',
        ['wait', 'relay'],
        'wait',
      ),
    }),
    rules: section('Rule files. Empty: the ones shipped in config/.', {
      replies_file: text('Reply classification rules.', '', { format: 'readable-file' }),
      shaping_file: text('Mailbox providers and their limits.', '', { format: 'readable-file' }),
      warmup_file: text('Warm-up volumes.', '', { format: 'readable-file' }),
    }),
    sandbox: section('The built-in sink that takes all mail in sandbox mode.', {
      listen: text('Address of the sink, as address:port. Port 0: any free port.', '127.0.0.1:0', { format: 'listen' }),
    }),
    log: section('The log: JSON lines on standard output.', {
      level: choice('The least level that is written.', ['debug', 'info', 'warn', 'error'], 'info'),
    }),
    secrets: section('The key that protects what is secret at rest.', {
      master_key_file: text(
        'File with the master key (32 bytes, base64), mode 0600. Empty: systemd credential relevo-master-key, else master.key in data_dir.',
        '',
        { format: 'secret-file' },
      ),
    }),
  },
  { additionalProperties: false, title: 'Relevo configuration' },
)

/** The whole configuration after defaults, as every room receives its section of it. Times are in seconds as written. */
export type Config = Static<typeof ConfigSchema>
