import { createServer } from 'node:net'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import { SILENT, SINK } from './contract.ts'

// The host all mail goes to, in a process of its own: raw sockets, 250 at once. It keeps what it took and verifies the
// signatures when asked, after the measured time.

const END = Buffer.from('\r\n.\r\n')
const GREETING = '220 sink.test ESMTP\r\n'
const HELLO = '250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100000000\r\n'

let kept: Buffer[] = []
let lastMs = 0
let wanted = 0

type Order =
  | { readonly ask: 'begin'; readonly wanted: number }
  | { readonly ask: 'verify'; readonly keys: readonly (readonly [string, string])[] }

process.on('disconnect', () => process.exit(0))
process.on('message', (order: Order) => {
  if (order.ask === 'begin') {
    kept = []
    wanted = order.wanted
    process.send!({ is: 'begun' })
  } else void verify(new Map(order.keys))
})

const server = createServer({ noDelay: true }, (socket) => {
  let waiting: Buffer = Buffer.alloc(0)
  let content: Buffer[] | null = null
  socket.on('error', () => {})
  socket.write(GREETING)
  socket.on('data', (data: Buffer) => {
    waiting = waiting.length === 0 ? data : Buffer.concat([waiting, data])
    let answer = ''
    for (;;) {
      if (content !== null) {
        const end = waiting.indexOf(END)
        if (end < 0) {
          // The end mark may be cut in two: its first bytes stay.
          const whole = Math.max(0, waiting.length - END.length + 1)
          content.push(waiting.subarray(0, whole))
          waiting = waiting.subarray(whole)
          break
        }
        content.push(waiting.subarray(0, end + 2))
        waiting = waiting.subarray(end + END.length)
        taken(Buffer.concat(content))
        content = null
        answer += '250 2.0.0 taken\r\n'
        continue
      }
      const lf = waiting.indexOf(10)
      if (lf < 0) break
      const verb = waiting.toString('latin1', 0, Math.min(lf, 4)).toUpperCase()
      waiting = waiting.subarray(lf + 1)
      if (verb === 'DATA') {
        content = []
        answer += '354 go on\r\n'
        // An empty line at the very beginning of the content counts for the end mark as well.
      } else if (verb === 'EHLO') answer += HELLO
      else if (verb === 'QUIT') {
        socket.end(`${answer}221 2.0.0 bye\r\n`)
        return
      } else answer += '250 2.0.0 ok\r\n'
    }
    if (answer !== '') socket.write(answer)
  })
})
// A host that takes connections and never says a word.
createServer((socket) => socket.on('error', () => {})).listen({ ...SILENT, backlog: 511 })
server.listen({ ...SINK, backlog: 511 }, () => process.send!({ is: 'ready' }))

function taken(content: Buffer): void {
  const urgent = /^X-Bench: -(\d+)/m.exec(content.toString('latin1', 0, 4000))
  if (urgent !== null) {
    process.send!({ is: 'urgent', number: Number(urgent[1]) })
    return
  }
  kept.push(content)
  if (kept.length === wanted) {
    lastMs = performance.timeOrigin + performance.now()
    process.send!({ is: 'all', atMs: lastMs })
  }
}

/** Every message by mailauth, and each number once. */
async function verify(keys: ReadonlyMap<string, string>): Promise<void> {
  const numbers = new Set<string>()
  let good = 0
  const resolver = async (name: string, type: string): Promise<string[][]> => {
    const value = keys.get(name.toLowerCase())
    if (type === 'TXT' && value !== undefined) return [[value]]
    throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
  }
  for (const content of kept) {
    numbers.add(/^X-Bench: (\d+)/m.exec(content.toString('latin1', 0, 4000))?.[1] ?? '')
    const unstuffed = content.includes('\r\n..')
      ? Buffer.from(content.toString('latin1').replaceAll('\r\n..', '\r\n.'), 'latin1')
      : content
    const { results } = await dkimVerify(unstuffed, { resolver })
    if (results.length > 0 && results.every(({ status }) => status.result === 'pass')) good += 1
  }
  process.send!({ is: 'verified', taken: kept.length, different: numbers.size, good })
}
