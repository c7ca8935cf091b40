import { generateKeyPair, randomBytes, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import forge from 'node-forge'

const generate = promisify(generateKeyPair)
const HOUR_MS = 3_600_000
const YEAR_MS = 365 * 24 * HOUR_MS
/** GeneralName tags (RFC 5280 §4.2.1.6). */
const DNS_NAME = 2
const IP_ADDRESS = 7

export type CertificateFiles = { readonly caFile: string; readonly certificateFile: string; readonly keyFile: string }

/**
 * A small certification authority and one certificate of its, for localhost and 127.0.0.1: clients trust the CA file and
 * keep their verification on. Made once; made anew when it ends within a week.
 */
export async function ensureCertificates(
  directory: string,
  hostname: string,
  nowMs: number,
): Promise<CertificateFiles> {
  const files = {
    caFile: join(directory, 'ca.pem'),
    certificateFile: join(directory, 'server.pem'),
    keyFile: join(directory, 'server.key'),
  }
  if (Object.values(files).every((file) => existsSync(file)) && stillGood(files.certificateFile, nowMs)) return files
  const caKey = await newKey()
  const caName = [{ name: 'commonName', value: 'Relevo quick start CA' }]
  const ca = sign(caKey.publicPem, caName, caName, caKey.privatePem, nowMs, [
    { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
  ])
  const key = await newKey()
  const certificate = sign(key.publicPem, [{ name: 'commonName', value: hostname }], caName, caKey.privatePem, nowMs, [
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    {
      name: 'subjectAltName',
      altNames: [
        { type: DNS_NAME, value: hostname },
        { type: DNS_NAME, value: 'localhost' },
        { type: IP_ADDRESS, ip: '127.0.0.1' },
      ],
    },
  ])
  writeFileSync(files.caFile, ca)
  writeFileSync(files.certificateFile, certificate)
  writeFileSync(files.keyFile, key.privatePem, { mode: 0o600 })
  return files
}

async function newKey(): Promise<{ publicPem: string; privatePem: string }> {
  const pair = await generate('rsa', { modulusLength: 2048 })
  return {
    publicPem: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string,
    privatePem: pair.privateKey.export({ type: 'pkcs1', format: 'pem' }) as string,
  }
}

function sign(
  publicPem: string,
  subject: forge.pki.CertificateField[],
  issuer: forge.pki.CertificateField[],
  issuerKeyPem: string,
  nowMs: number,
  extensions: object[],
): string {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.publicKeyFromPem(publicPem)
  // A positive number of at most 20 octets (RFC 5280 §4.1.2.2).
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`
  certificate.validity.notBefore = new Date(nowMs - HOUR_MS)
  certificate.validity.notAfter = new Date(nowMs + YEAR_MS)
  certificate.setSubject(subject)
  certificate.setIssuer(issuer)
  certificate.setExtensions(extensions)
  certificate.sign(forge.pki.privateKeyFromPem(issuerKeyPem), forge.md.sha256.create())
  return forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n')
}

function stillGood(file: string, nowMs: number): boolean {
  return Date.parse(new X509Certificate(readFileSync(file)).validTo) > nowMs + 7 * 86_400_000
}
