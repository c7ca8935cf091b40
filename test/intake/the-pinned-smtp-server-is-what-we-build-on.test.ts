import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { SMTPServer } from 'smtp-server'
import { SMTPConnection } from 'smtp-server/lib/smtp-connection.js'
import { SMTPStream } from 'smtp-server/lib/smtp-stream.js'
import t from 'tap'

// The session is a subclass that stands on the inside of one version. When this test fails after an update: read the
// changed functions, adapt src/intake/smtp, and only then write the new version here.
const VERSION = '3.21.6'

void t.test('the version is the one that was read', async (t) => {
  const path = createRequire(import.meta.url).resolve('smtp-server/package.json')
  t.equal((JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version, VERSION)
})

const sourceOf = (prototype: object, name: string): string =>
  String((prototype as Record<string, unknown>)[name]).replace(/\/\/.*$/gm, '')

/** Method, and what its text must still have (a reason beside each). */
const CONNECTION: readonly (readonly [string, readonly RegExp[]])[] = [
  ['init', [/_setListeners\(/, /connectionReady\(\), 100/]], // overridden: the delay is still the only other thing in it
  [
    'connectionReady',
    [/disableReverseLookup/, /this\._server\.onConnect\(this\.session/, /_ready = true/, /_sendGreeting\(\)/],
  ],
  ['_createParser', [/new SMTPStream/, /_onCommand\(command, callback\)/]],
  ['_setListeners', [/this\._socket\.pipe\(this\._parser\)/, /_armTimeout\(\)/]],
  ['_armTimeout', [/socket\.setTimeout/]],
  [
    '_onCommand',
    [/this\._nextHandler/, /_isSupported\(commandName\)/, /handler\.call\(this, command/, /_server\._closeTimeout/],
  ],
  ['_onClose', [/_parser\.isClosed = true/, /this\._closed = true/, /this\._server\.onClose\(this\.session/]],
  ['_resetSession', [/session\.envelope = /, /_transmissionType\(\)/]],
  ['_transmissionType', [/openingCommand === 'EHLO'/, /this\.secure/, /this\.session\.user/]],
  ['send', [/context/, /this\._socket\.write\(payload/, /code === 421/, /this\.close\(\)/, /!this\._upgrading/]],
  ['close', [/this\._socket\.end\(\)/, /_parser\.isClosed = true/, /connections\.delete\(this\)/]],
  ['handler_EHLO', [/_isSupported\('AUTH'\)/, /_isSupported\('STARTTLS'\)/, /_resetSession\(\)/]],
  ['handler_STARTTLS', [/this\.upgrade\(callback\)/]],
  ['handler_AUTH', [/authMethods\.includes\(method\)/]],
  ['handler_MAIL', []],
  ['handler_RCPT', []],
  ['handler_DATA', []],
  [
    'upgrade',
    [
      /_parser\.isClosed = true/,
      /this\._parser = this\._createParser\(\)/,
      /session\.user = false/,
      /_server\.onSecure/,
    ],
  ],
]
const SERVER: readonly (readonly [string, readonly RegExp[]])[] = [
  ['connect', [/new SMTPConnection\(this, socket, socketOptions\)/, /this\.connections\.add/, /connection\.init\(\)/]],
  ['_acceptSocket', [/return false/, /_pendingSockets/]],
  ['updateSecureContext', [/this\.secureContext = new Map\(\)/, /sniOptions/]],
  ['_resolveSNI', [/secureContext\.get\('\*'\)/]],
  ['close', [/this\.server\.close\(/, /_pendingSockets/, /_closeTimeout = setTimeout/]],
  ['onAuth', []],
  ['onSecure', []],
  ['onClose', []],
  ['onConnect', []],
]

void t.test('the connection has the inside we rely on', async (t) => {
  for (const [name, parts] of CONNECTION) {
    const source = sourceOf(SMTPConnection.prototype, name)
    t.match(source, /\{/, `${name} is there`)
    for (const part of parts) t.match(source, part, `${name} has ${part}`)
  }
})

void t.test('the server has the inside we rely on', async (t) => {
  for (const [name, parts] of SERVER) {
    const source = sourceOf(SMTPServer.prototype, name)
    t.match(source, /\{/, `${name} is there`)
    for (const part of parts) t.match(source, part, `${name} has ${part}`)
  }
})

void t.test('the stream is still a Writable whose _write and _flushData can be replaced', async (t) => {
  t.match(sourceOf(SMTPStream.prototype, '_write'), /this\.isClosed/)
  t.match(String(SMTPStream), /_dataMode = false/)
  t.match(String(SMTPStream), /'finish', \(\) => this\._flushData\(\)/)
})

void t.test('nothing reaches for members of the connection that our stream does not have', async (t) => {
  const text = String(SMTPConnection)
  const used = new Set([...text.matchAll(/(?:this\._parser|\bparser)\.(\w+)/g)].map((match) => match[1]))
  t.strictSame([...used].sort(), ['_dataMode', 'continue', 'dataBytes', 'isClosed', 'on', 'oncommand', 'startDataMode'])
})
