import { createRequire } from 'node:module'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import t from 'tap'
import { dkimRecordValue, generateDkimKey, loadDkimKey, signMessage } from '#mail'

// dkim-signer (2016) as a further opinion. Where it is wrong the test says so: those cases are why it signs nothing here.

type DkimSigner = {
  DKIMSign(
    email: string,
    options: { privateKey: string; keySelector: string; domainName: string; headerFieldNames?: string },
  ): string
}
const { DKIMSign } = createRequire(import.meta.url)('dkim-signer') as DkimSigner

const DOMAIN = 'relevo.example'
const made = await generateDkimKey('rsa-sha256')
const ours = loadDkimKey({ domain: DOMAIN, selector: 's', algorithm: 'rsa-sha256', privateKeyDer: made.privateKeyDer })
const record = dkimRecordValue('rsa-sha256', made.publicKey)
const pem = ours.key.export({ format: 'pem', type: 'pkcs8' }).toString()
const HEADER =
  'From: App <app@relevo.example>\r\nTo: a@example.org\r\nSubject: Hello  there\r\n\tfriend\r\nMIME-Version: 1.0\r\n\r\n'

async function verdict(message: Buffer): Promise<string | undefined> {
  const { results } = await dkimVerify(message, { resolver: async () => [[record]] })
  return results[0]?.status.result
}

/** The body hashes of both signers and what mailauth says of both signatures. */
async function both(
  message: string,
): Promise<{ ours: string | undefined; theirs: string | undefined; sameHash: boolean }> {
  const bytes = Buffer.from(message)
  const our = (await signMessage(bytes, [ours], { nowMs: 1_772_500_000_000 })).toString()
  const their = `${DKIMSign(message, { privateKey: pem, keySelector: 's', domainName: DOMAIN })}\r\n`
  const hash = (field: string) => /bh=([^;]+)/.exec(field)?.[1]?.replace(/\s/g, '')
  return {
    ours: await verdict(Buffer.concat([Buffer.from(our), bytes])),
    theirs: await verdict(Buffer.concat([Buffer.from(their), bytes])),
    sameHash: hash(our) === hash(their),
  }
}

await t.test('both are right', async (t) => {
  const bodies = {
    'a line': 'Hello.\r\n',
    'white space to fold': 'a  b \t c \r\n\td\r\n',
    'blank lines at the end': 'a\r\n\r\nb\r\n\r\n\r\n',
    'white space in the last lines': 'a\r\n \r\n\t\r\n',
    'no line end': 'open end',
    'long line': `${'word '.repeat(300)}\r\n`,
  }
  for (const [name, body] of Object.entries(bodies))
    t.strictSame(await both(HEADER + body), { ours: 'pass', theirs: 'pass', sameHash: true }, name)
})

await t.test('dkim-signer is wrong, we are not', async (t) => {
  const bodies = {
    'an empty body': '',
    'a body of blank lines': '\r\n\r\n',
    'a no-break space': 'a\u00a0b\r\n',
    'a no-break space at the end of a line': 'a\u00a0\r\n',
    'a form feed': 'a\fb\r\n',
  }
  for (const [name, body] of Object.entries(bodies)) {
    const opinion = await both(HEADER + body)
    t.equal(opinion.ours, 'pass', `${name}: ours verifies`)
    t.not(opinion.theirs, 'pass', `${name}: theirs does not`)
    t.notOk(opinion.sameHash, `${name}: the hashes differ`)
  }
})

await t.test('8-bit text that is not UTF-8 does not survive its way through a string', async (t) => {
  const bytes = Buffer.from(`${HEADER}Gr\u00fc\u00dfe\r\n`, 'latin1')
  const our = await signMessage(bytes, [ours], { nowMs: 1_772_500_000_000 })
  const their = Buffer.from(
    `${DKIMSign(bytes.toString(), { privateKey: pem, keySelector: 's', domainName: DOMAIN })}\r\n`,
  )
  t.equal(await verdict(Buffer.concat([our, bytes])), 'pass')
  t.not(await verdict(Buffer.concat([their, bytes])), 'pass')
})
