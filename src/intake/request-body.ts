import type { IncomingMessage } from 'node:http'
import { Fault } from '#base'
import type { ContentBudget } from './smtp/dot-reader.ts'

/** The body of a request, read whole within its limit; what it takes of the budget is held until `release`. */
export type HeldBody = { readonly body: Buffer; release(): void }

/**
 * Reads the body.
 * @throws Fault `too-large` over `maxBytes`, `busy` when all requests together hold too much
 */
export async function readBody(stream: IncomingMessage, maxBytes: number, budget: ContentBudget): Promise<HeldBody> {
  const announced = Number(stream.headers['content-length'] ?? 0)
  if (announced > maxBytes) throw tooLarge(maxBytes)
  const chunks: Buffer[] = []
  let held = 0
  const release = (): void => {
    budget.release(held)
    held = 0
  }
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (held + chunk.length > maxBytes) throw tooLarge(maxBytes)
      if (!budget.reserve(chunk.length, held))
        throw new Fault('too many requests are under way at this moment', {
          code: 'busy',
          remedy: 'Send it again in a few seconds.',
        })
      held += chunk.length
      chunks.push(chunk)
    }
  } catch (error) {
    release()
    throw error
  }
  return { body: Buffer.concat(chunks), release }
}

function tooLarge(maxBytes: number): Fault {
  return new Fault(`the request has more than ${maxBytes} bytes`, {
    code: 'too-large',
    field: 'attachments',
    remedy: 'Send smaller attachments, or links to them.',
  })
}
