import { isIPv4, isIPv6 } from 'node:net'

export type ListenAddress = { readonly host: string; readonly port: number }

/** `127.0.0.1:25`, `[::1]:25`; null when it is neither. Host names are not resolved: a listener is an address. */
export function parseListen(text: string): ListenAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/.exec(text)
  if (match === null) return null
  const [, six, four, digits = ''] = match
  const port = Number(digits)
  if (port > 65_535) return null
  if (six !== undefined) return isIPv6(six) ? { host: six, port } : null
  return four !== undefined && isIPv4(four) ? { host: four, port } : null
}
