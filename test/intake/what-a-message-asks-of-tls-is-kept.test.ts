import t from 'tap'
import { loggedIn, openRig, Wire } from './rig.ts'

const mail = (...fields: string[]): string =>
  ['From: app@example.com', 'Subject: hello', ...fields, '', 'Hello.', '.', ''].join('\r\n')

async function submit(wire: Wire, parameter: string, content: string): Promise<string> {
  for (const [line, expected] of [
    [`MAIL FROM:<app@example.com>${parameter}`, /^250/],
    ['RCPT TO:<you@example.net>', /^250/],
    ['DATA', /^354/],
  ] as const) {
    const reply = (await wire.say(line)) ?? ''
    if (!expected.test(reply)) return reply
  }
  wire.write(content)
  return (await wire.reply()) ?? ''
}

void t.test('REQUIRETLS and TLS-Required go with the message, and REQUIRETLS before the other', async (t) => {
  const rig = await openRig(t)
  const wire = await loggedIn(rig.port('tls'))
  const no = mail('TLS-Required: No')
  const rows: readonly (readonly [string, string, unknown])[] = [
    ['', mail(), undefined],
    [' REQUIRETLS', mail(), 'required'],
    [' requiretls SMTPUTF8', mail(), 'required'],
    ['', no, 'optional'],
    ['', mail('tls-required:\r\n  nO '), 'optional'],
    [' REQUIRETLS', no, 'required'],
    ['', mail('TLS-Required: yes'), undefined],
    ['', mail('TLS-Required: No', 'TLS-Required: No'), undefined],
  ]
  for (const [parameter, content, expected] of rows) {
    t.match(await submit(wire, parameter, content), /^250 /, `${parameter} ${content.split('\r\n')[2]}`)
    t.equal(rig.queue.messages.at(-1)!.tls, expected)
  }
  // The hops behind us heed the field as well (RFC 8689 §3).
  t.match(Buffer.from(rig.queue.messages[3]!.content).toString(), /^TLS-Required: No\r$/m)
  wire.close()
})

void t.test('REQUIRETLS is neither offered nor taken in clear text', async (t) => {
  const rig = await openRig(t, {
    settings: { trusted_listen: ['127.0.0.1:0'], trusted_networks: ['127.0.0.0/8'], trusted_domains: ['example.com'] },
  })
  const wire = Wire.open(rig.port('trusted'))
  t.match(await wire.reply(), /^220/)
  t.notMatch(await wire.say('EHLO client.example'), /REQUIRETLS/)
  t.match(await submit(wire, ' REQUIRETLS', mail()), /^530 5\.7\.10 /)
  t.equal(rig.queue.messages.length, 0)
  t.match(await submit(wire, '', mail()), /^250 /)
  wire.close()
})
