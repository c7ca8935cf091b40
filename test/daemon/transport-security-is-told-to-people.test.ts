import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { RawClient } from '#world'
import { DaemonRig, DOMAIN, RELEVO } from './daemon-rig.ts'

const run = promisify(execFile)

/** Over STARTTLS with a log-in where `tls`, else by the trusted door. Answers the id. */
async function submit(rig: DaemonRig, to: string, tls: string | null): Promise<string> {
  const client = await RawClient.open(tls === null ? rig.ports.trusted : rig.ports.starttls)
  await client.reply()
  await client.ask('EHLO app.test')
  if (tls !== null) {
    await client.ask('STARTTLS')
    await client.startTls()
    await client.ask('EHLO app.test')
    await client.ask(`AUTH PLAIN ${Buffer.from('\0app\0correct horse battery').toString('base64')}`)
  }
  await client.ask(`MAIL FROM:<app@${DOMAIN}>${tls ?? ''}`)
  await client.ask(`RCPT TO:<${to}>`)
  await client.ask('DATA')
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: Hello\r\n\r\nHello.\r\n.`)
  client.close()
  return /queued as (\S+)/.exec(reply.lines.join(' '))?.[1] ?? reply.lines.join(' ')
}

void t.test('what TLS policy kept a mail back, and why, is seen by why, trace, tls and the metrics', async (t) => {
  await using rig = await DaemonRig.open({
    domains: ['good.test', 'strict.test'],
    more: '[[tls_policies]]\ndomain = "strict.test"\npolicy = "verify"\n',
  })
  const relevo = async (...argv: readonly string[]): Promise<string> =>
    (await run(RELEVO, [...argv, '--config', rig.configFile])).stdout
  await rig.api.post('/credentials', { username: 'app', password: 'correct horse battery', allowed: [DOMAIN] })
  const strict = await submit(rig, 'you@strict.test', null)
  const good = await submit(rig, 'you@good.test', null)
  const asked = await submit(rig, 'you@good.test', ' REQUIRETLS')
  t.match(`${strict} ${good} ${asked}`, /^\w{26} \w{26} \w{26}$/)
  // The message itself, and the notice that REQUIRETLS could not be had: both for the one host there is.
  await rig.until(() => rig.mx.taken.length >= 2)
  await rig.until(async () => /tls-untrusted/.test(await relevo('why', strict)))

  const why = JSON.parse(await relevo('why', strict, '--json')) as Record<string, string>
  t.match(why, {
    state: 'deferred',
    reason: 'tls-untrusted',
    last_answer: /^configured verify: the certificate of .* is not trusted/,
  })
  t.match(await relevo('trace', strict), /configured verify: the certificate/)
  t.match(await relevo('trace', good), /TLSv1\.3 TLS_\w+/)
  const [trace] = (await relevo('trace', asked, '--json'))
    .split('\n')
    .map((line) => (line === '' ? null : JSON.parse(line)))
  t.match(trace, {
    tls: 'required',
    recipients: [{ state: 'bounced', tries: [{ reply: /^requiretls: / }] }],
  })
  t.match(await relevo('tls', 'policy', 'strict.test'), /configured verify/)
  const policy = JSON.parse(await relevo('tls', 'policy', 'good.test', '--json')) as object
  t.match(policy, {
    domain: 'good.test',
    mx_validated: false,
    mta_sts: null,
    hosts: [{ policy: 'default opportunistic' }],
  })
  const report = JSON.parse((await relevo('tls', 'report', 'good.test', '--json')).trim()) as object
  t.match(report, {
    domain: 'good.test',
    policies: [{ policy: { 'policy-type': 'no-policy-found' }, summary: { 'total-failure-session-count': 0 } }],
  })
  t.match(await relevo('tls', 'report'), /no-policy-found\tsuccess/)
  t.equal((await relevo('tls', 'report', '--date', '2001-01-01', '--json')).trim(), '')
  const metrics = await (await fetch(`http://127.0.0.1:${rig.ports.metrics}/metrics`)).text()
  t.match(metrics, /relevo_tls_sessions\{policy="no-policy-found",result="success"\} \d/)
  t.notOk(rig.mx.taken.some(({ recipients }) => recipients.includes('you@strict.test')))
})
