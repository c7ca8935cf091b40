import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import t from 'tap'
import {
  completeMessage,
  type DkimKey,
  dkimRecordValue,
  generateDkimKey,
  loadDkimKey,
  signMessage,
  toSevenBit,
} from '#mail'
import { hasDebianOracle } from './debian-oracle.ts'
import { randomFrom, randomMessage } from './random-message.ts'

// 1,100 random messages, completed, made 7-bit and signed with both algorithms, shown to three verifiers that are not
// ours. 100 more are signed as they came (8-bit, long lines): whoever signs must also be right about those.

const COMPLETED = 1100
const AS_THEY_CAME = 100
const SEED = 20260301
const DOMAIN = 'relevo.example'
const NOW_MS = 1_772_500_000_000

const directory = mkdtempSync(join(tmpdir(), 'relevo-dkim-'))
t.teardown(() => rmSync(directory, { recursive: true }))

const records: Record<string, string> = {}
const keys: DkimKey[] = []
for (const algorithm of ['rsa-sha256', 'ed25519-sha256'] as const) {
  const made = await generateDkimKey(algorithm)
  const selector = algorithm.slice(0, 3)
  keys.push(loadDkimKey({ domain: DOMAIN, selector, algorithm, privateKeyDer: made.privateKeyDer }))
  records[`${selector}._domainkey.${DOMAIN}`] = dkimRecordValue(algorithm, made.publicKey)
}

type Signed = { readonly file: string; readonly bytes: Buffer; readonly seed: number }
const messages: Signed[] = []
/** Tampered with after signing: each verifier must say no, else its yes means nothing. */
const tampered: Signed[] = []

await t.test('messages are completed and signed', async (t) => {
  let untouched = 0
  for (let n = 0; n < COMPLETED + AS_THEY_CAME; n++) {
    const seed = SEED + n
    const { raw, isSignedMultipart } = randomMessage(randomFrom(seed))
    let content: Buffer
    if (n < COMPLETED) {
      const completed = completeMessage(raw, {
        hostname: 'mail.relevo.example',
        id: `m${n}`,
        nowMs: NOW_MS,
        client: { address: '192.0.2.1', name: null, helo: 'app.example' },
        protocol: 'ESMTPSA',
        recipient: null,
        smtpUtf8: false,
      })
      if (!completed.ok) {
        t.fail(`message of seed ${seed} was refused: ${completed.error.message}`)
        continue
      }
      content = completed.value.content
      if (isSignedMultipart) {
        untouched++
        if (!content.includes('Grüße,  \tä\r\n')) t.fail(`the signed part of seed ${seed} was changed`)
        if (!toSevenBit(content).untouchable8bit) t.fail(`seed ${seed} is not said to be untouchable`)
      }
    } else {
      // python3-dkim does not read the obsolete space before the colon; completing takes it out.
      const text = raw.toString('latin1').replace(/\r?\n/g, '\r\n').replaceAll('\r\nComments :', '\r\nComments:')
      // What comes over SMTP ends with a line end; python3-dkim keeps white space at an open end.
      content = Buffer.from(text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1')
    }
    const bytes = Buffer.concat([await signMessage(content, keys, { nowMs: NOW_MS }), content])
    const file = join(directory, `m${n}`)
    writeFileSync(file, bytes)
    messages.push({ file, bytes, seed })
  }
  t.equal(messages.length, COMPLETED + AS_THEY_CAME, 'none was refused')
  t.ok(untouched > 50, `${untouched} messages with a signed part`)
  const changes: [string, (text: string) => string][] = [
    ['body', (text) => `${text}x\r\n`],
    ['from', (text) => text.replace('app@relevo', 'apq@relevo')],
    ['added', (text) => `From: other@relevo.example\r\n${text}`],
    ['unsubscribe', (text) => `List-Unsubscribe: <https://evil.example/>\r\n${text}`],
  ]
  for (const [name, change] of changes) {
    const bytes = Buffer.from(change(messages[0]!.bytes.toString('latin1')), 'latin1')
    const file = join(directory, `t${name}`)
    writeFileSync(file, bytes)
    tampered.push({ file, bytes, seed: SEED })
  }
})

/** Reports the seeds at fault in one assertion, so that 1,200 messages do not make 1,200 lines. */
function judge(
  t: Pick<typeof import('tap').t, 'strictSame'>,
  opinions: ReadonlyMap<string, readonly boolean[]>,
  judged: readonly Signed[] = messages,
): void {
  const wrong = judged
    .filter(({ file }) => opinions.get(file)?.join() !== 'true,true')
    .map(({ seed, file }) => [seed, opinions.get(file)])
  t.strictSame(wrong, [], `both signatures of ${judged.length} messages verify`)
  const fooled = tampered
    .filter(({ file }) => opinions.get(file)?.join() !== 'false,false')
    .map(({ file }) => [file, opinions.get(file)])
  t.strictSame(fooled, [], `none of ${tampered.length} changed messages verifies`)
}

await t.test('mailauth', async (t) => {
  const opinions = new Map<string, boolean[]>()
  for (const { file, bytes } of [...messages, ...tampered]) {
    const { results } = await dkimVerify(bytes, {
      resolver: async (name: string) => {
        const record = records[name]
        if (record === undefined) throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
        return [[record]]
      },
    })
    opinions.set(
      file,
      results.map((result) => result.status.result === 'pass'),
    )
  }
  judge(t, opinions)
})

await t.test('python3-dkim', async (t) => {
  if (!hasDebianOracle(t, 'python3-dkim', '/usr/lib/python3/dist-packages/dkim/__init__.py')) return
  if (!hasDebianOracle(t, 'python3-nacl', '/usr/lib/python3/dist-packages/nacl/__init__.py')) return
  const all = [...messages, ...tampered].map(({ file }) => file)
  const output = execFileSync('/usr/bin/python3', [join(import.meta.dirname, 'verify-with-python3-dkim.py')], {
    input: JSON.stringify({ keys: records, messages: all }),
    encoding: 'utf8',
    maxBuffer: 1e8,
  })
  const lines = output.trim().split('\n')
  judge(
    t,
    new Map(all.map((file, i) => [file, (JSON.parse(lines[i]!) as unknown[]).map((verdict) => verdict === true)])),
  )
})

await t.test('opendkim', async (t) => {
  if (!hasDebianOracle(t, 'opendkim', '/usr/sbin/opendkim')) return
  const keyFile = join(directory, 'keys')
  const configFile = join(directory, 'opendkim.conf')
  const lines = Object.entries(records).map(([name, value]) => `${name} ${value}\n`)
  writeFileSync(keyFile, lines.join(''))
  writeFileSync(configFile, `TestPublicKeys ${keyFile}\nMode v\n`)
  // Its test mode reads lines into a buffer of 1,024 octets as C strings: no NUL, no longer lines.
  const fit = messages.filter(({ bytes }) => !/\0|[^\n]{1000}/.test(bytes.toString('latin1')))
  t.ok(fit.length > COMPLETED, `${fit.length} messages fit its test mode`)
  const names = [...fit, ...tampered].map(({ file }) => file.slice(directory.length + 1))
  const output = execFileSync('/usr/sbin/opendkim', ['-x', configFile, '-vvv', '-t', names.join(',')], {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 1e8,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // For each message an Authentication-Results field, then the line that names the file.
  const opinions = new Map<string, boolean[]>()
  for (const [, results, name] of output.matchAll(/### INSHEADER([^#]*)opendkim: (\w+): verification/g)) {
    const verdicts = [...results!.matchAll(/\bdkim=(\w+)/g)].map((match) => match[1] === 'pass')
    opinions.set(join(directory, name!), verdicts)
  }
  judge(t, opinions, fit)
})
