import { accessSync, constants, statSync } from 'node:fs'
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'
import { validate as isCron } from 'node-cron'
import { messageOf } from '#base'
import { parseListen } from './listen-address.ts'
import type { Format } from './schema.ts'

/** Labels of letters, digits and hyphens, no hyphen at an end (RFC 1123 §2.1, RFC 1035 §2.3.4). */
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i

/** What is wrong with the text as a value of that format, or null; files are looked at only with `withFiles`. */
export function checkFormat(format: Format, text: string, withFiles: boolean): string | null {
  switch (format) {
    case 'listen':
      return parseListen(text) === null ? 'is not address:port' : null
    case 'cidr':
      return ipaddr.isValidCIDR(text) ? null : 'is not a network'
    case 'ip':
      return isIP(text) === 0 ? 'is not an IP address' : null
    case 'dns-server':
      return isIP(text) !== 0 || (parseListen(text)?.port ?? 0) > 0 ? null : 'is not the address of a name server'
    case 'domain':
      return isHostName(text) ? null : 'is not a host name'
    case 'mailbox':
      return isMailbox(text) ? null : 'is not a mail address'
    case 'cron':
      return text.trim().split(/\s+/).length === 5 && isCron(text) ? null : 'is not a cron expression'
    case 'path':
      return text.includes('\0') ? 'is not a path' : null
    case 'readable-file':
      return withFiles ? fileProblem(text, 0) : null
    case 'shared-secret-file':
      return withFiles ? fileProblem(text, 0o007) : null
    case 'secret-file':
      return withFiles ? fileProblem(text, 0o077) : null
  }
}

/** @param forbidden mode bits that must not be set */
function fileProblem(path: string, forbidden: number): string | null {
  try {
    const stat = statSync(path)
    if (!stat.isFile()) return 'is not a file'
    if ((stat.mode & forbidden) !== 0)
      return `has mode 0${(stat.mode & 0o777).toString(8)}, which lets others read the secret`
    accessSync(path, constants.R_OK)
    return null
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'does not exist'
    return `cannot be read (${messageOf(error).split(',', 1)[0]})`
  }
}

export function isHostName(text: string): boolean {
  // The last label of a name is never all digits, or it would be an address.
  return HOST_NAME.test(text) && !/(?:^|\.)\d+$/.test(text)
}

function isMailbox(text: string): boolean {
  const at = text.lastIndexOf('@')
  return at > 0 && at <= 64 && /^[^\s<>"@]+$/.test(text.slice(0, at)) && isHostName(text.slice(at + 1))
}
