import { access } from 'node:fs/promises'
import t from 'tap'
import { sleep } from '#base'
import {
  BEHAVIOURS,
  certificate,
  dialogue,
  fastClock,
  load,
  manualClock,
  openDns,
  RawClient,
  scriptedMx,
  tempDir,
  verifyMail,
} from '#world'

await t.test('the name server answers what the zone says, follows CNAMEs and knows what is not there', async (t) => {
  await using dns = await openDns({
    'a.test': { MX: [[10, 'mx.a.test']], TXT: ['v=spf1 -all'], ttl: 7 },
    'mx.a.test': { A: ['192.0.2.1', '192.0.2.2'], AAAA: ['2001:db8::1'] },
    'c.test': { CNAME: 'a.test' },
    'null.test': { MX: [[0, '.']] },
    '*.wild.test': { A: ['192.0.2.9'] },
    'many.test': { A: Array.from({ length: 60 }, (_, i) => `192.0.2.${i + 1}`) },
    'tcp.test': { A: ['192.0.2.3'], fault: 'truncate' },
  })
  const resolver = dns.resolver()
  const code = (asked: Promise<unknown>): Promise<unknown> => asked.catch((error: NodeJS.ErrnoException) => error.code)
  t.match(await resolver.resolveMx('c.test'), [{ exchange: 'mx.a.test', priority: 10 }])
  t.strictSame(await resolver.resolve4('mx.a.test'), ['192.0.2.1', '192.0.2.2'])
  t.strictSame(await resolver.resolve4('any.wild.test', { ttl: true }), [{ address: '192.0.2.9', ttl: 300 }])
  t.equal((await resolver.resolve4('many.test')).length, 60)
  t.strictSame(await resolver.resolve4('tcp.test'), ['192.0.2.3'])
  t.ok(dns.queries.some((query) => query.name === 'tcp.test' && query.transport === 'tcp'))
  t.match(await resolver.resolveMx('null.test'), [{ exchange: '', priority: 0 }])
  t.equal(await code(resolver.resolve4('none.test')), 'ENOTFOUND')
  t.equal(await code(resolver.resolve4('a.test')), 'ENODATA')
  t.equal(await code(resolver.resolve4('wild.test')), 'ENODATA')
  dns.set('a.test', { fault: 'servfail' })
  t.equal(await code(resolver.resolveMx('a.test')), 'ESERVFAIL')
  dns.set('a.test', null)
  dns.fail('refused')
  t.equal(await code(resolver.resolve4('mx.a.test')), 'EREFUSED')
  dns.fail(null)
  t.equal(dns.count('tcp.test', 'A'), 2)
})

await t.test('the manual clock stands still, then fires in order', async (t) => {
  const clock = manualClock(1000)
  const fired: string[] = []
  clock.after(20, () => fired.push('b'))
  clock.after(10, () => {
    fired.push('a')
    clock.after(5, () => fired.push('a2'))
  })
  clock.after(10, () => fired.push('same time, later'))
  clock.after(10, () => fired.push('never'))()
  const slept = sleep(clock, 30).then(() => fired.push('slept'))
  await clock.advance(9)
  t.strictSame([fired.length, clock.now(), clock.monotonicMs()], [0, 1009, 9])
  await clock.advance(21)
  await slept
  t.strictSame(fired, ['a', 'same time, later', 'a2', 'b', 'slept'])
  t.equal(clock.waiting, 0)
  clock.jump(-500)
  t.strictSame([clock.now(), clock.monotonicMs()], [530, 30])
  const fast = fastClock(1000)
  const started = performance.now()
  const alive = setInterval(() => {}, 1000)
  await sleep(fast, 20_000)
  clearInterval(alive)
  t.ok(performance.now() - started < 5000)
})

await t.test('a dialogue that differs says where', async (t) => {
  await using mx = await scriptedMx()
  const said = await dialogue(
    mx.port,
    ['# greet', '<- 220', '', '-> EHLO %{me}', '<- 250-PIPELINING', '-> QUIT', '<~ ^221 ', '<closed>'],
    {
      values: { me: 'a.test' },
    },
  )
  t.equal(said[1], '-> EHLO a.test')
  await t.rejects(dialogue(mx.port, ['<- 220', '-> NOOP', '<- 250']), /line 3, "<- 250": came "500 5\.5\.2 what"/)
  await t.rejects(dialogue(mx.port, ['<- 220', '-> QUIT', '<- 221', '<- 250']), /the connection was closed/)
  await t.rejects(dialogue(mx.port, ['<- 220', '<- 220'], { replyMs: 50 }), /no reply within 50 ms/)
  await t.rejects(dialogue(mx.port, ['hello']), /not a line of a dialogue/)
})

await t.test('the load generator counts what was acknowledged, and what was not', async (t) => {
  await using mx = await scriptedMx()
  const all = await load({ port: mx.port, sessions: 4, messages: 100, tls: 'starttls', perConnection: 10 })
  t.equal(all.acked.size, 100)
  t.equal(mx.taken.length, 100)
  const ids = new Set(mx.taken.map((taken) => /X-World-Id: (\S+)/.exec(taken.content.toString())![1]))
  t.strictSame(ids, all.acked)
  t.ok(all.connections >= 10)

  await using refusing = await scriptedMx({ behaviour: 'partial' })
  const mixed = await load({ port: refusing.port, sessions: 2, messages: 30, to: (n) => `r${n}@x.test` })
  t.equal(mixed.acked.size, refusing.taken.length)
  t.equal(mixed.acked.size + mixed.refused.length, 30)

  await using dropping = await scriptedMx({ behaviour: 'dropafterdot' })
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 150)
  const lost = await load({ port: dropping.port, sessions: 2, signal: stop.signal })
  t.equal(lost.acked.size, 0)
  t.ok(lost.unanswered.size > 0)
})

await t.test('forty behaviours, each reachable; certificates and directories are real', async (t) => {
  t.equal(Object.keys(BEHAVIOURS).length, 40)
  for (const behaviour of Object.keys(BEHAVIOURS) as (keyof typeof BEHAVIOURS)[]) {
    await using mx = await scriptedMx({ behaviour })
    const client = await RawClient.open(mx.port).catch(() => null)
    if (behaviour !== 'resetconn') t.equal(client !== null, behaviour !== 'refuse', behaviour)
    client?.close()
  }
  const one = await certificate(['mx.test'])
  t.equal(one, await certificate(['mx.test']).then((again) => (again.cert === one.cert ? one : again)))
  let path = ''
  {
    await using dir = await tempDir()
    path = dir.path
    await access(path)
  }
  await t.rejects(access(path))
})

await t.test('the verifier asks the world and nobody else', async (t) => {
  await using dns = await openDns({
    'a.test': { TXT: ['v=spf1 ip4:192.0.2.1 -all'] },
    '_dmarc.a.test': { TXT: ['v=DMARC1; p=reject'] },
  })
  const content = Buffer.from('From: <x@a.test>\r\nSubject: hi\r\n\r\nhi\r\n')
  const arrival = { content, helo: 'a.test', sender: 'x@a.test' }
  t.match(await verifyMail(dns, { ...arrival, ip: '192.0.2.1' }), { spf: 'pass', dmarc: 'pass' })
  t.match(await verifyMail(dns, { ...arrival, ip: '192.0.2.2' }), {
    spf: 'fail',
    dmarc: 'fail',
    dkim: [{ result: 'none' }],
  })
  t.ok(dns.count('_dmarc.a.test') >= 1)
})
