import t from 'tap'
import { makeSenderNotice } from '#feedback'
import type { MessageHead } from '#queue'

const CONTENT = Buffer.from('From: app@a.test\r\nSubject: secret plan\r\n\r\nfor your eyes only\r\n')
const recipient = { key: 1, address: 'you@b.test', originalRecipient: null, notify: null }

/** The failure notice of a message with RET=FULL whose sender said nothing of NOTIFY. */
async function notice(tls: MessageHead['tls'], policy: 'requested' | 'failure' | 'never') {
  const make = makeSenderNotice({ policy, hostname: 'mail.test', lifetimeMs: 1000, content: async () => CONTENT })
  const message = { id: 'm1', acceptedMs: 0, expiresMs: 1000, reversePath: 'app@a.test', sendingDomain: 'a.test', tls }
  const head = { ...message, envelopeId: null, ret: 'full', subject: 'secret plan', sandbox: false }
  return make({
    ...{
      message: head as unknown as MessageHead,
      recipient,
    },
    ...{ action: 'failed', status: '5.7.30', diagnostic: 'not offered', remoteHost: 'mx.b.test', nowMs: 1 },
  })
}

void t.test('RFC 8689 §4.2.1 and §5: always told, protected the same way, the header alone', async (t) => {
  const told = await notice('required', 'requested')
  t.equal(told?.tls, 'required')
  t.equal(told?.reversePath, '')
  const text = Buffer.from(told!.content).toString()
  t.match(text, /Status: 5\.7\.30/)
  t.match(text, /Subject: secret plan/)
  t.notMatch(text, /for your eyes only/, 'RET=FULL is not heeded')
  t.equal(await notice('required', 'never'), null, 'but where no notices are wanted at all')
  t.equal(await notice(null, 'requested'), null, 'other mail: only who asked')
  const other = await notice(null, 'failure')
  t.equal(other?.tls, undefined)
  t.match(Buffer.from(other!.content).toString(), /for your eyes only/)
})
