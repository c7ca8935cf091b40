import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { openRig } from './rig.ts'

// Measures the SMTP path alone: 50 sessions that pipeline as RFC 2920 allows, against a queue that keeps nothing and
// answers at once. `node test/intake/accept-rate.ts [seconds] [bytes]`; the server has a process of its own.

if (process.send !== undefined) {
  const settings = {
    trusted_listen: ['127.0.0.1:0'],
    trusted_networks: ['127.0.0.0/8'],
    trusted_domains: ['example.com'],
  }
  const rig = await openRig({ teardown: () => {} }, { settings })
  rig.queue.accept = async (message) => ({ kind: 'accepted', id: message.id })
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send!({ cpuSeconds: (user + system) / 1e6, rssMiB: process.memoryUsage().rss / 1_048_576 })
  })
  process.send({ port: rig.port('trusted') })
} else {
  const seconds = Number(process.argv[2] ?? 5)
  const bytes = Number(process.argv[3] ?? 4096)
  const server = fork(import.meta.filename)
  const [{ port }] = (await once(server, 'message')) as [{ port: number }]
  const line = `${'0123456789abcdef'.repeat(4).slice(0, 74)}\r\n`
  const body = line.repeat(Math.ceil(bytes / line.length))
  const content = `From: app@example.com\r\nTo: you@example.net\r\nSubject: rate\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <x@example.com>\r\n\r\n${body}.\r\n`
  let done = 0
  let wrong = 0
  const session = (): void => {
    const socket = connect(port, '127.0.0.1').setNoDelay(true)
    let text = ''
    let step = 0
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
        const reply = text.slice(0, end)
        text = text.slice(end + 2)
        if (reply[3] === '-') continue
        if (reply[0] === '4' || reply[0] === '5') wrong++
        step++
        if (step === 1) socket.write('EHLO rate.example\r\n')
        else if (step === 2) socket.write('MAIL FROM:<app@example.com>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n')
        else if (step === 5) socket.write(content)
        else if (step === 6) {
          done++
          step = 2
          socket.write('MAIL FROM:<app@example.com>\r\nRCPT TO:<you@example.net>\r\nDATA\r\n')
        }
      }
    })
    socket.on('error', () => {})
  }
  const ask = async (): Promise<{ cpuSeconds: number; rssMiB: number }> => {
    server.send('usage')
    return ((await once(server, 'message')) as [{ cpuSeconds: number; rssMiB: number }])[0]
  }
  for (let i = 0; i < 50; i++) session()
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const before = await ask()
  const from = done
  const started = performance.now()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const taken = done - from
  const after = await ask()
  const perSec = taken / ((performance.now() - started) / 1000)
  const cpuMsPerMessage = ((after.cpuSeconds - before.cpuSeconds) * 1000) / taken
  process.stdout.write(
    `${JSON.stringify({ bytes, perSec: Math.round(perSec), cpuMsPerMessage: Number(cpuMsPerMessage.toFixed(4)), rssMiB: Math.round(after.rssMiB), wrong })}\n`,
  )
  server.kill()
  process.exit(0)
}
