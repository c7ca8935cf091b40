import type { Readable } from 'node:stream'
import { EX, Fault } from '#base'

const MAX_BYTES = 104_857_600

/** Everything on a stream, 100 MiB at most. @throws Fault (EX.DATAERR) beyond that */
export async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array | string)
    size += bytes.length
    if (size > MAX_BYTES)
      throw new Fault('standard input is larger than 100 MiB', { code: 'too-large', exitCode: EX.DATAERR })
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}
