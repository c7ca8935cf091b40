import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')
const DOOR_LINES = 30

/** Who may import whom. `types:` allows type imports alone. Composition (main.ts, daemon.ts) may import everything. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  base: [],
  mail: ['base'],
  config: ['base'],
  limits: ['base', 'config'],
  store: ['base', 'config'],
  queue: ['base', 'config', 'mail', 'store'],
  suppression: ['base', 'config', 'mail', 'store', 'types:queue'],
  events: ['base', 'config', 'mail', 'store', 'queue'],
  domains: ['base', 'config', 'mail', 'store'],
  intake: ['base', 'config', 'mail', 'store', 'limits', 'queue', 'domains', 'events'],
  reputation: ['base', 'config', 'mail', 'store', 'limits', 'queue'],
  routing: ['base', 'config', 'store', 'limits', 'queue', 'reputation'],
  delivery: ['base', 'config', 'mail', 'store', 'queue', 'limits', 'routing', 'reputation', 'domains', 'events'],
  feedback: ['base', 'config', 'mail', 'store', 'queue', 'events', 'domains', 'types:delivery'],
  control: [
    ...['base', 'mail', 'config', 'limits', 'store', 'queue', 'suppression', 'events', 'domains', 'intake'],
    ...['reputation', 'routing', 'delivery', 'feedback'],
  ],
  cli: [
    ...['base', 'config', 'mail', 'store', 'queue', 'feedback', 'domains', 'suppression', 'reputation', 'limits'],
    // The DNS client, for `relevo dns verify` without a daemon.
    'delivery',
  ],
}
const COMPOSITION = ['main.ts', 'daemon.ts', 'first-start.ts']

/**
 * Files that may touch `process` besides composition, each with its reason. `process.nextTick` and `process.hrtime` are not
 * the outside world, but nothing here needs them.
 */
const PROCESS: Readonly<Record<string, string>> = {
  'store/sqlite/open-file.ts': 'the pid that the lock file names, so that the second daemon can say who has the store',
}

/**
 * Files that may open connections outward, each with what keeps it from leading anywhere. Everything else goes through
 * guardedConnect, which checks the address that it connects to.
 */
const OUTWARD: Readonly<Record<string, string>> = {
  'delivery/guarded-connect.ts': 'the one way out',
  'delivery/smtp-client/tls-upgrade.ts': 'TLS over a socket that guardedConnect opened',
  'delivery/direct/fetch-policy.ts': 'TLS and HTTP over a socket that guardedConnect opened',
  'delivery/direct/dns-exchange.ts': 'the name servers of the configuration or the system',
  'cli/local-api.ts': 'the unix socket of the daemon',
  'cli/sendmail/local-smtp.ts': 'the unix socket of the daemon',
  'limits/redis-limiter.ts': 'the Redis server of the configuration',
}
/** What opens connections, by module; of packages the import alone. */
const OPENS: Readonly<Record<string, RegExp | null>> = {
  net: /^(?:connect|createConnection|Socket)$/,
  tls: /^connect$/,
  dgram: /^createSocket$/,
  http: /^(?:request|get|Agent|ClientRequest|globalAgent)$/,
  https: /^(?:request|get|Agent|globalAgent)$/,
  http2: /^connect$/,
  dns: /^(?:lookup|resolve.*|Resolver|promises)$/,
  'dns/promises': /./,
  undici: null,
  ioredis: null,
  nodemailer: null,
  mailauth: null,
  pg: null,
}

/** The RFCs that code, comments and documents may name: each exists and says what it is named for. */
const RFCS: Readonly<Record<string, string>> = {
  '1035': 'domain names',
  '1123': 'requirements for hosts',
  '1428': 'from 8-bit to 7-bit mail',
  '1847': 'multipart/signed',
  '1870': 'SIZE',
  '1894': 'DSN, first form',
  '1918': 'private addresses',
  '2033': 'LMTP',
  '2142': 'mailbox names for roles',
  '2034': 'ENHANCEDSTATUSCODES',
  '2045': 'MIME: bodies',
  '2046': 'MIME: media types',
  '2047': 'MIME: encoded words',
  '2049': 'MIME: conformance',
  '2181': 'clarifications to DNS',
  '2183': 'Content-Disposition',
  '2231': 'MIME parameters',
  '2308': 'negative caching in DNS',
  '2369': 'List-* fields',
  '2392': 'cid: URLs',
  '2595': 'TLS with IMAP, POP3',
  '2606': 'reserved names',
  '2765': 'translation between IPv4 and IPv6',
  '2782': 'SRV',
  '2822': 'message format, second form',
  '2852': 'DELIVERBY',
  '2919': 'List-Id',
  '2920': 'PIPELINING',
  '3030': 'CHUNKING',
  '3056': '6to4',
  '3207': 'STARTTLS',
  '3339': 'times',
  '3461': 'DSN in SMTP',
  '3462': 'multipart/report, first form',
  '3463': 'enhanced status codes',
  '3464': 'DSN',
  '3492': 'Punycode',
  '3596': 'IPv6 in DNS',
  '3696': 'checking names',
  '3798': 'MDN, second form',
  '3834': 'automatic responses',
  '3848': 'ESMTP transmission types',
  '4013': 'SASLprep',
  '4034': 'DNSSEC records',
  '4035': 'DNSSEC protocol',
  '4180': 'CSV',
  '4193': 'unique local IPv6 addresses',
  '4291': 'IPv6 addresses',
  '4343': 'case in DNS',
  '4408': 'SPF, first form',
  '4422': 'SASL',
  '4616': 'PLAIN',
  '4648': 'base32, base64',
  '4865': 'FUTURERELEASE',
  '4954': 'AUTH',
  '5034': 'SASL in POP3',
  '5155': 'NSEC3',
  '5248': 'registry of status codes',
  '5280': 'X.509',
  '5321': 'SMTP',
  '5322': 'message format',
  '5451': 'Authentication-Results, first form',
  '5598': 'mail architecture',
  '5737': 'addresses for documentation',
  '5782': 'DNSBL',
  '5890': 'IDNA definitions',
  '5891': 'IDNA',
  '5965': 'ARF',
  '6052': 'IPv6 addresses of translators',
  '6125': 'names in certificates, first form',
  '6152': '8BITMIME',
  '6186': 'SRV for mail',
  '6365': 'terms of internationalisation',
  '6376': 'DKIM',
  '6409': 'submission',
  '6522': 'multipart/report',
  '6530': 'internationalised mail',
  '6531': 'SMTPUTF8',
  '6532': 'internationalised header fields',
  '6533': 'internationalised DSN',
  '6591': 'authentication failure reports',
  '6598': 'shared address space',
  '6647': 'greylisting',
  '6650': 'creation and use of ARF',
  '6652': 'SPF failure reports',
  '6655': 'AES-CCM for TLS',
  '6672': 'DNAME',
  '6698': 'DANE',
  '6710': 'MT-PRIORITY',
  '6729': 'status in Received',
  '6761': 'special-use names',
  '6762': 'multicast DNS',
  '6763': 'DNS service discovery',
  '6840': 'clarifications to DNSSEC',
  '6890': 'special-purpose addresses',
  '6891': 'EDNS(0)',
  '7208': 'SPF',
  '7293': 'Require-Recipient-Valid-Since',
  '7372': 'status codes of authentication',
  '7435': 'opportunistic security',
  '7489': 'DMARC',
  '7504': '521 and 556',
  '7505': 'null MX',
  '7672': 'DANE for SMTP',
  '7766': 'DNS over TCP',
  '7807': 'problem details, first form',
  '7914': 'scrypt',
  '7919': 'finite field groups in TLS',
  '8020': 'NXDOMAIN',
  '8032': 'Ed25519',
  '8058': 'one-click unsubscribe',
  '8098': 'MDN',
  '8215': 'local-use translation prefix',
  '8259': 'JSON',
  '8301': 'DKIM algorithms',
  '8305': 'Happy Eyeballs',
  '8314': 'cleartext considered obsolete',
  '8410': 'Ed25519 in X.509',
  '8446': 'TLS 1.3',
  '8460': 'TLS reporting',
  '8461': 'MTA-STS',
  '8463': 'Ed25519 for DKIM',
  '8551': 'S/MIME 4.0',
  '8601': 'Authentication-Results',
  '8616': 'authentication of internationalised mail',
  '8617': 'ARC',
  '8689': 'REQUIRETLS',
  '8767': 'serving stale DNS data',
  '9110': 'HTTP',
  '9111': 'HTTP caching',
  '9112': 'HTTP/1.1',
  '9457': 'problem details',
  '9525': 'names in certificates',
  '9562': 'UUID',
}

type Import = {
  readonly file: string
  readonly line: number
  readonly from: string
  readonly typeOnly: boolean
  /** By import(), when it is needed. */
  readonly late: boolean
}

void t.test('rooms import only whom the table allows, and through the door', (t) => {
  for (const file of sources(SRC)) {
    const room = roomOf(file)
    for (const { from, typeOnly, line } of importsOf(file)) {
      const place = `${relative(ROOT, file)}:${line} imports ${from}`
      if (from.startsWith('.')) {
        const target = resolve(join(file, '..'), from)
        t.notMatch(relative(ROOT, target), /^(test|scripts)\//, `${place}: nothing of the tests`)
        const inside = COMPOSITION.includes(room) || roomOf(target) === room
        const handsOver = room === 'cli' && COMPOSITION.includes(roomOf(target))
        t.ok(inside || handsOver, `${place}: another room is entered by its door`)
        if (COMPOSITION.includes(room) && !COMPOSITION.includes(roomOf(target)))
          t.ok(room === 'main.ts' && roomOf(target) === 'cli', `${place}: another room is entered by its door`)
      } else if (from.startsWith('#')) {
        const other = from.slice(1)
        t.not(other, room, `${place}: inside a room paths are relative`)
        t.not(other, 'world', `${place}: nothing of the tests`)
        if (COMPOSITION.includes(room)) continue
        const allowed = ALLOWED[room] ?? []
        t.ok(
          allowed.includes(other) || (typeOnly && allowed.includes(`types:${other}`)),
          `${place}: ${room} may import ${allowed.join(', ') || 'nothing'}`,
        )
      }
    }
  }
  t.end()
})

void t.test('every room is in the table, and its door is short, opens with what it is, and only hands on', (t) => {
  const rooms = readdirSync(SRC, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && entry.name !== 'panel',
  )
  for (const { name } of rooms) {
    t.ok(Object.hasOwn(ALLOWED, name), `${name} stands in the table`)
    const door = readFileSync(join(SRC, name, 'index.ts'), 'utf8')
    const lines = door.trimEnd().split('\n')
    t.ok(lines.length <= DOOR_LINES, `the door of ${name} has ${lines.length} lines, at most ${DOOR_LINES}`)
    t.ok(door.startsWith(`// ${name}: `), `the door of ${name} says what it is`)
  }
  t.end()
})

void t.test('time comes from the clock', (t) => {
  for (const file of sources(SRC).filter((path) => !path.endsWith('base/clock.ts')))
    for (const { line, code } of codeLines(file))
      if (/\bDate\.now\(|\bnew Date\(\s*\)/.test(code))
        t.fail(`${relative(ROOT, file)}:${line} asks the machine for the time`)
  t.pass('looked through')
  t.end()
})

/** Packages that a daemon at rest does not need, with who may import them: what they take of the memory it would keep for good. */
const AT_FIRST_USE: Readonly<Record<string, readonly string[]>> = {
  typebox: ['intake/compose/compose-job.ts'],
  nodemailer: ['intake/compose/compose.ts'],
  ioredis: [],
  mailauth: [],
  tldts: [],
}

void t.test('large packages are loaded at their first use', (t) => {
  for (const file of sources(SRC))
    for (const { from, line, typeOnly, late } of importsOf(file)) {
      const [name = ''] = from.split('/')
      if (typeOnly || late || !Object.hasOwn(AT_FIRST_USE, name)) continue
      if (!AT_FIRST_USE[name]!.includes(relative(SRC, file)))
        t.fail(
          `${relative(ROOT, file)}:${line} imports ${from} at start; use Type of #base, or import() where it is needed`,
        )
    }
  t.pass('looked through')
  t.end()
})

void t.test('the process is touched by main.ts and daemon.ts alone', (t) => {
  for (const file of sources(SRC)) {
    const name = relative(SRC, file)
    if (COMPOSITION.includes(name) || Object.hasOwn(PROCESS, name)) continue
    for (const { line, code } of codeLines(file))
      if (/(?<![\w$.'"/#-])process\./.test(code) || /from 'node:process'/.test(code))
        t.fail(`${relative(ROOT, file)}:${line} touches the process: ${code.trim()}`)
  }
  t.pass('looked through')
  t.end()
})

void t.test('connections outward are opened in one place', (t) => {
  const ways = new Set<string>()
  for (const file of sources(SRC)) {
    const name = relative(SRC, file)
    for (const opened of outwardIn(readFileSync(file, 'utf8'))) {
      ways.add(name)
      t.ok(
        Object.hasOwn(OUTWARD, name),
        `${name} uses ${opened}: go through guardedConnect (src/delivery/guarded-connect.ts)`,
      )
    }
  }
  t.strictSame([...ways].sort(), Object.keys(OUTWARD).sort(), 'each exception is one still')
  // Over a socket that was opened by guardedConnect; an agent would open its own.
  t.match(readFileSync(join(SRC, 'delivery/direct/fetch-policy.ts'), 'utf8'), /createConnection: \(\) => secure/)
  t.match(readFileSync(join(SRC, 'delivery/direct/fetch-policy.ts'), 'utf8'), /await guardedConnect\(/)
  t.end()
})

void t.test('the reader of ways outward sees every form', (t) => {
  t.strictSame(
    outwardIn(
      [
        "import { connect as c, type Socket, isIP } from 'node:net'",
        "import net from 'node:net'",
        "import * as tls from 'tls'",
        "import { Agent } from 'undici'",
        "const r = await import('node:https')",
        "import type { Socket } from 'node:net'",
        'const answer = await fetch(url)',
        'this.#fetch(url); parts.fetch(url)',
      ].join('\n'),
    ),
    ['net connect', 'net default', 'tls *', 'undici', 'https whole', 'fetch()'],
  )
  t.end()
})

void t.test('no RFC is named that is not in the list', (t) => {
  const files = [...sources(SRC), ...sources(join(ROOT, 'test')), ...sources(join(ROOT, 'scripts')), ...documents()]
  let named = 0
  for (const file of files)
    for (const [i, line] of readFileSync(file, 'utf8').split('\n').entries())
      for (const [, number = ''] of line.matchAll(/\bRFCs? ?(\d{3,5})\b/g)) {
        named++
        if (!Object.hasOwn(RFCS, number))
          t.fail(`${relative(ROOT, file)}:${i + 1} names RFC ${number}, which is not in the list`)
      }
  t.ok(named > 50, `${named} references`)
  t.end()
})

void t.test('the reader of imports sees every form', (t) => {
  const seen = importsIn(
    'x.ts',
    `import a from '#a'\nimport type { B } from '#b'\nimport { type C, type D } from '#c'\nimport {\n  type E,\n  f,\n} from '#e'\nexport * from './g.ts'\nexport type { H } from '#h'\nconst i = await import('#i')\nimport './j.ts'\nconst k = new URL('./k.ts', import.meta.url)\n// import l from '#l'\nlet m: import('#m').M\n`,
  )
  t.strictSame(
    seen.map(({ from, typeOnly, line }) => `${line} ${from}${typeOnly ? ' type' : ''}`),
    ['1 #a', '2 #b type', '3 #c type', '4 #e', '8 ./g.ts', '9 #h type', '10 #i', '11 ./j.ts', '14 #m'],
  )
  t.end()
})

function sources(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith(join(SRC, 'panel')))
    .sort()
}

/** What in a source text can open a connection: `net connect`, `undici`, `fetch()`. */
function outwardIn(text: string): readonly string[] {
  const found: string[] = []
  const statement =
    /^import\s+(?!type\b)(?<what>[^'"]*?)\s*from\s*'(?:node:)?(?<from>[^']+)'|\bimport\('(?:node:)?(?<late>[^']+)'\)(?!\.)/gm
  for (const { groups = {} } of text.matchAll(statement)) {
    const from = groups.from ?? groups.late ?? ''
    if (!Object.hasOwn(OPENS, from)) continue
    const rule = OPENS[from]!
    const what = groups.what ?? ''
    if (rule === null) found.push(from)
    else if (groups.late !== undefined) found.push(`${from} whole`)
    else if (!what.startsWith('{')) found.push(`${from} ${what.startsWith('*') ? '*' : 'default'}`)
    else
      for (const one of what.slice(1, -1).split(',')) {
        const name = one.trim().split(/\s+as\s+/, 1)[0]!
        if (name !== '' && !name.startsWith('type ') && rule.test(name)) found.push(`${from} ${name}`)
      }
  }
  for (const line of text.split('\n'))
    if (/(?<![.#\w])fetch\(/.test(line) && !/^\s*(?:\/\/|\*|\/\*|fetch\()/.test(line)) found.push('fetch()')
  return found
}

function documents(): readonly string[] {
  const docs = readdirSync(join(ROOT, 'docs'), { recursive: true, withFileTypes: true })
  return [
    ...docs
      .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
      .map((entry) => join(entry.parentPath, entry.name)),
    join(ROOT, 'config/relevo.sample.toml'),
  ]
}

function roomOf(path: string): string {
  return relative(SRC, path).split('/')[0]!
}

function importsOf(file: string): readonly Import[] {
  return importsIn(file, readFileSync(file, 'utf8'))
}

function importsIn(file: string, text: string): readonly Import[] {
  const found: Import[] = []
  const statement =
    /^(?:import|export)\b(?<what>[^'"`;=()]*?)(?:\bfrom\s*)?'(?<from>[^']+)'|\bimport\(\s*'(?<late>[^']+)'\s*\)/gm
  for (const match of text.matchAll(statement)) {
    const { what = '', from, late } = match.groups ?? {}
    const start = text.lastIndexOf('\n', match.index) + 1
    if (text.slice(start, match.index).trimStart().startsWith('//')) continue
    const names = /\{(?<inside>[^}]*)\}/.exec(what)?.groups?.inside
    const each = (names ?? '')
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean)
    const typeOnly = /^\s*type\b/.test(what) || (each.length > 0 && each.every((name) => name.startsWith('type ')))
    found.push({
      file,
      line: text.slice(0, match.index).split('\n').length,
      from: from ?? late ?? '',
      typeOnly,
      late: late !== undefined,
    })
  }
  return found
}

/** Lines without comments and string contents, near enough for a search. */
function codeLines(file: string): readonly { readonly line: number; readonly code: string }[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((code, i) => ({ line: i + 1, code: code.replace(/^\s*(?:\/\/|\/?\*).*$/, '').replace(/\s\/\/ .*$/, '') }))
}
