import t from 'tap'
import { SqliteQueueStore } from '#queue'
import type { Database } from '#store'
import { message, settlement } from '../contract/queue-messages.ts'

/** What would be cloned into the writer thread for these arguments. */
function bytesOf(args: unknown): number {
  if (ArrayBuffer.isView(args)) return args.buffer.byteLength
  if (args === null || typeof args !== 'object') return 0
  return Object.values(args).reduce((sum: number, value) => sum + bytesOf(value), 0)
}

void t.test('a content is cloned into the writer thread without the rest of the buffer it is a part of', async (t) => {
  const crossed: unknown[] = []
  const write = async (_op: string, args: unknown): Promise<unknown> => {
    crossed.push(args)
    return {}
  }
  const store = new SqliteQueueStore({ write } as unknown as Database)
  const content = Buffer.concat([Buffer.from('Subject: Hello\r\n\r\n'), Buffer.alloc(4096, 'x')])
  t.ok(content.buffer.byteLength > content.byteLength, 'it is a part of the pool')
  await store.accept(message([], { content }), [])
  const claim = {
    message: { id: 'm' } as never,
    recipients: [{ key: 1, fence: 1, address: 'user@a.example' } as never],
  }
  await store.settle([settlement(claim, 'bounced', { spawn: message([], { content }) })])
  t.same(crossed.map(bytesOf), [content.byteLength, content.byteLength])
  t.match(crossed[0], { message: { content: new Uint8Array(content) } })
})
