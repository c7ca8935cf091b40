import { Duplex } from 'node:stream'
import { connect, createSecureContext, TLSSocket as ServerSide, type TLSSocket } from 'node:tls'
import t from 'tap'
import { systemClock } from '#base'
import { certificate } from '#world'
import { Transcript } from '../../src/delivery/smtp-client/transcript.ts'
import { Wire } from '../../src/delivery/smtp-client/wire.ts'

/** A pipe that hands bytes over at once and says only later that they have left, as a busy kernel does. */
function pipe(turnsUntilTold: number): [Duplex, Duplex] {
  const end = (): Duplex & { other?: Duplex } => {
    const duplex: Duplex & { other?: Duplex } = new Duplex({
      read() {},
      write(chunk, _encoding, told) {
        duplex.other?.push(chunk)
        inTurns(turnsUntilTold, () => told())
      },
      final(told) {
        duplex.other?.push(null)
        told()
      },
    })
    return duplex
  }
  const [here, there] = [end(), end()]
  here.other = there
  there.other = here
  return [here, there]
}

function inTurns(turns: number, then: () => void): void {
  if (turns === 0) then()
  else setImmediate(() => inTurns(turns - 1, then))
}

/** Both ends of a TLS connection over such a pipe. */
async function secured(turnsUntilTold: number): Promise<{ client: TLSSocket; server: TLSSocket }> {
  const { key, cert } = await certificate(['mx.test'])
  const [here, there] = pipe(turnsUntilTold)
  const server = new ServerSide(there, { isServer: true, secureContext: createSecureContext({ key, cert }) })
  const client = connect({ socket: here, rejectUnauthorized: false })
  await new Promise<void>((resolve, reject) => {
    client.once('secureConnect', resolve)
    client.once('error', reject)
  })
  return { client, server }
}

async function lastWord(turnsUntilTold: number, answer: (server: TLSSocket) => void) {
  const { client, server } = await secured(turnsUntilTold)
  const wire = new Wire(client, systemClock, new Transcript())
  answer(server)
  const flushed = await wire.lastContent([Buffer.from('content\r\n'), Buffer.from('.\r\n')])
  const reply = flushed ? await wire.reply() : null
  const said = reply === null ? `ended: ${wire.ended?.reason}` : `${reply.code} ${reply.text}`
  wire.end('done')
  server.destroy()
  return said
}

void t.test('an answer that is read before Node says that the content has left counts', async (t) => {
  for (let i = 0; i < 20; i++) {
    const said = await lastWord(1, (server) => {
      let seen = ''
      server.on('data', (data: Buffer) => {
        seen += data.toString()
        if (seen.endsWith('.\r\n')) server.write('250 2.0.0 taken\r\n')
      })
    })
    t.equal(said, '250 taken')
  }
})

void t.test('also when the host closes right behind it', async (t) => {
  const said = await lastWord(1, (server) => {
    let seen = ''
    server.on('data', (data: Buffer) => {
      seen += data.toString()
      if (seen.endsWith('.\r\n')) server.end('250 2.0.0 taken\r\n')
    })
  })
  t.equal(said, '250 taken')
})

void t.test('one that was there long before the end had left does not', async (t) => {
  const said = await lastWord(12, (server) => {
    server.once('data', () => server.write('250 2.0.0 too soon\r\n'))
  })
  t.equal(said, 'ended: unexpected-reply')
})
