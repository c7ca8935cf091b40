import type { TLSSocket } from 'node:tls'
import t from 'tap'
import { certificate, loggedIn, openRig, submit, Wire } from './rig.ts'

async function shownBy(port: number, servername?: string): Promise<string> {
  const wire = Wire.openTls(port, servername === undefined ? {} : { servername })
  await wire.reply()
  const name = (wire.socket as TLSSocket).getPeerCertificate().subject.CN as string
  wire.close()
  return name
}

void t.test('a new certificate is shown at once, and sessions that stand go on', async (t) => {
  const rig = await openRig(t)
  const standing = await loggedIn(rig.port('tls'))
  const clear = Wire.open(rig.port('starttls'))
  await clear.reply()
  await clear.say('EHLO client.example')
  t.equal(await shownBy(rig.port('tls')), 'localhost')
  const next = certificate('mail.relevo.test')
  rig.server.reloadTls({ ...next, names: new Map([['smtp.example.com', certificate('smtp.example.com')]]) })
  t.equal(await shownBy(rig.port('tls')), 'mail.relevo.test')
  t.equal(await shownBy(rig.port('tls'), 'smtp.example.com'), 'smtp.example.com')
  await clear.starttls()
  t.equal((clear.socket as TLSSocket).getPeerCertificate().subject.CN, 'mail.relevo.test')
  t.match(await submit(standing), /^250 /)
  standing.close()
  clear.close()
})

void t.test('a certificate that does not fit its key changes nothing', async (t) => {
  const rig = await openRig(t)
  t.throws(() => rig.server.reloadTls({ ...certificate('other.test'), key: certificate().key }))
  t.throws(() => rig.server.reloadTls({ cert: 'no PEM', key: 'no PEM', minVersion: 'TLSv1.2' }))
  t.equal(await shownBy(rig.port('tls')), 'localhost')
})

void t.test('old TLS versions are not spoken', async (t) => {
  const rig = await openRig(t)
  const wire = Wire.openTls(rig.port('tls'), {
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  })
  t.equal(await wire.reply(), null)
  const strict = await openRig(t, { tls: { ...certificate(), minVersion: 'TLSv1.3' } })
  t.equal(await Wire.openTls(strict.port('tls'), { maxVersion: 'TLSv1.2' }).reply(), null)
  const wanted = Wire.openTls(strict.port('tls'))
  t.match(await wanted.reply(), /^220 /)
  wanted.close()
})
