import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const CACHE = join(import.meta.dirname, '../../.cache/world')
const CURVE = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
const DAYS = '3650'

export type Certificate = {
  readonly key: string
  readonly cert: string
  readonly keyFile: string
  readonly certFile: string
}

export type CertificateKind =
  /** By the world's authority. */
  | 'valid'
  /** By itself. */
  | 'self-signed'
  /** By the world's authority, long over. */
  | 'expired'

/** The world's own certificate authority (PEM); nothing outside the tests trusts it. */
export async function worldCa(): Promise<Certificate> {
  return cached('ca', (dir) =>
    openssl([
      ...['req', '-x509', ...CURVE, '-days', DAYS, '-subj', '/CN=Relevo test world'],
      ...['-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')],
      ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ]),
  )
}

/** A certificate for these names (DNS names or IP addresses), made once and kept between runs. */
export async function certificate(names: readonly string[], kind: CertificateKind = 'valid'): Promise<Certificate> {
  const ca = await worldCa()
  const id = createHash('sha256')
    .update(`${kind}\n${names.join('\n')}\n${ca.cert}`)
    .digest('hex')
    .slice(0, 16)
  return cached(id, async (dir) => {
    const at = (name: string): string => join(dir, name)
    const alternatives = names.map((name) => `${/^[\d.]+$|:/.test(name) ? 'IP' : 'DNS'}:${name}`).join(',')
    await writeFile(at('extensions'), `subjectAltName=${alternatives}\n`)
    await openssl([
      ...['req', '-new', ...CURVE, '-subj', `/CN=${names[0]!.slice(0, 60)}`],
      ...['-keyout', at('key.pem'), '-out', at('request.pem')],
    ])
    const sign = ['x509', '-req', '-in', at('request.pem'), '-out', at('cert.pem'), '-extfile', at('extensions')]
    if (kind === 'self-signed') return openssl([...sign, '-days', DAYS, '-signkey', at('key.pem')])
    const authority = ['-CA', ca.certFile, '-CAkey', ca.keyFile, '-set_serial', `0x${id}`]
    if (kind === 'valid') return openssl([...sign, '-days', DAYS, ...authority])
    await writeFile(at('index.txt'), '')
    await writeFile(at('serial'), '10\n')
    await writeFile(
      at('ca.conf'),
      `[ca]\ndefault_ca=it\n[it]\ndatabase=${at('index.txt')}\nserial=${at('serial')}\nnew_certs_dir=${dir}\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n`,
    )
    return openssl([
      ...['ca', '-batch', '-config', at('ca.conf'), '-cert', ca.certFile, '-keyfile', ca.keyFile],
      ...['-startdate', '20200101000000Z', '-enddate', '20200201000000Z', '-extfile', at('extensions'), '-notext'],
      ...['-in', at('request.pem'), '-out', at('cert.pem')],
    ])
  })
}

async function openssl(args: readonly string[]): Promise<void> {
  await run('openssl', args)
}

/** Made in a directory of its own and moved into place whole, so tests that run side by side do not see half of it. */
async function cached(id: string, make: (dir: string) => Promise<void>): Promise<Certificate> {
  const home = join(CACHE, id)
  const found = await load(home)
  if (found) return found
  await mkdir(CACHE, { recursive: true })
  const dir = await mkdtemp(join(CACHE, 'making-'))
  try {
    await make(dir)
    await rename(dir, home).catch(() => rm(dir, { recursive: true }))
  } catch (error) {
    await rm(dir, { recursive: true, force: true })
    throw error
  }
  const made = await load(home)
  if (!made) throw new Error(`no certificate in ${home}`)
  return made
}

async function load(home: string): Promise<Certificate | null> {
  const keyFile = join(home, 'key.pem')
  const certFile = join(home, 'cert.pem')
  try {
    const [key, cert] = await Promise.all([readFile(keyFile, 'utf8'), readFile(certFile, 'utf8')])
    return { key, cert, keyFile, certFile }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
