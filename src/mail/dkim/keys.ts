import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { EX, Fault } from '#base'
import type { DkimKey } from '../types.ts'

/** RFC 8301 §3.2: at least 1024, 2048 recommended; more does not fit one UDP answer everywhere and costs four times as much. */
const RSA_BITS = 2048
const MIN_RSA_BITS = 1024
/** The fixed head of an Ed25519 SubjectPublicKeyInfo (RFC 8410 §4); the 32 octets of the key follow. */
const ED25519_SPKI_HEAD = 12

const generate = promisify(generateKeyPair)

export type GeneratedDkimKey = {
  /** PKCS #8, DER. */
  readonly privateKeyDer: Buffer
  /** Base64 as it stands in `p=` (RFC 6376 §3.6.1; for Ed25519 the bare 32 octets, RFC 8463 §4). */
  readonly publicKey: string
}

/** A new key pair, made on the thread pool. */
export async function generateDkimKey(algorithm: DkimKey['algorithm']): Promise<GeneratedDkimKey> {
  const { privateKey } =
    algorithm === 'rsa-sha256' ? await generate('rsa', { modulusLength: RSA_BITS }) : await generate('ed25519', {})
  return {
    privateKeyDer: privateKey.export({ format: 'der', type: 'pkcs8' }),
    publicKey: dkimPublicKey(privateKey),
  }
}

/** What stands in `p=` for a key. */
export function dkimPublicKey(privateKey: KeyObject): string {
  const spki = createPublicKey(privateKey.export({ format: 'pem', type: 'pkcs8' })).export({
    format: 'der',
    type: 'spki',
  })
  const bytes = privateKey.asymmetricKeyType === 'ed25519' ? spki.subarray(ED25519_SPKI_HEAD) : spki
  return bytes.toString('base64')
}

/**
 * A key ready to sign with, parsed once (parsing costs more than signing).
 * @throws Fault `invalid-dkim-key` when the bytes are no key of that algorithm, or an RSA key is shorter than 1024 bits
 */
export function loadDkimKey(key: {
  readonly domain: string
  readonly selector: string
  readonly algorithm: DkimKey['algorithm']
  readonly privateKeyDer: Uint8Array
}): DkimKey {
  const { domain, selector, algorithm } = key
  let parsed: KeyObject
  try {
    parsed = createPrivateKey({ key: Buffer.from(key.privateKeyDer), format: 'der', type: 'pkcs8' })
  } catch (cause) {
    throw invalid(key, 'is not a PKCS #8 private key', cause)
  }
  if (parsed.asymmetricKeyType !== (algorithm === 'rsa-sha256' ? 'rsa' : 'ed25519'))
    throw invalid(key, `is not a key for ${algorithm}`)
  if (algorithm === 'rsa-sha256' && (parsed.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS)
    throw invalid(key, `is shorter than ${MIN_RSA_BITS} bits`)
  return { domain, selector, algorithm, key: parsed }
}

/** Value of the TXT record at `<selector>._domainkey.<domain>`, not yet cut into strings of 255. */
export function dkimRecordValue(algorithm: DkimKey['algorithm'], publicKey: string): string {
  return `v=DKIM1; k=${algorithm === 'rsa-sha256' ? 'rsa' : 'ed25519'}; p=${publicKey}`
}

function invalid(key: { readonly domain: string; readonly selector: string }, what: string, cause?: unknown): Fault {
  return new Fault(`the DKIM key ${key.selector}._domainkey.${key.domain} ${what}`, {
    code: 'invalid-dkim-key',
    remedy: 'Make a new key for the domain, or import an unencrypted PKCS #8 key of the right kind.',
    exitCode: EX.DATAERR,
    cause,
  })
}
