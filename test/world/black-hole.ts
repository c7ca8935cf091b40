import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

export interface BlackHole extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

/** Listens with a queue of one and never accepts, so the kernel drops every further SYN. */
const LISTENER = `
const { createServer } = require('node:net')
const { parentPort } = require('node:worker_threads')
const server = createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  parentPort.postMessage(server.address().port)
  setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120_000))
})
`
const FILL = 4

/** A port that connections are neither accepted nor refused at. */
export async function blackHole(): Promise<BlackHole> {
  const worker = new Worker(LISTENER, { eval: true })
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  const fillers: Socket[] = Array.from({ length: FILL }, () =>
    connect({ port, host: '127.0.0.1' }).on('error', () => {}),
  )
  await new Promise((resolve) => setTimeout(resolve, 100))
  return {
    host: '127.0.0.1',
    port,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy()
      await worker.terminate()
    },
  }
}
