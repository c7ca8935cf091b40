import t from 'tap'
import { DaemonRig, DOMAIN } from '../daemon/daemon-rig.ts'

type Problem = { status: number; type: string; detail: string; field?: string; remedy?: string; request_id: string }

await using rig = await DaemonRig.open()

async function call(method: string, path: string, token?: string, body?: unknown) {
  const answer = await fetch(`http://127.0.0.1:${rig.ports.http}/api/email-system${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {}
  return {
    status: answer.status,
    type: answer.headers.get('content-type') ?? '',
    json: json as Record<string, unknown> & Partial<Problem>,
  }
}

const tokenFor = async (permissions: string[], allowed = ['*'], more = {}): Promise<{ id: string; token: string }> =>
  rig.api.post('/tokens', { name: 'test', permissions, allowed, ...more })

await t.test('without a token, with a wrong, revoked or expired one: 401 with what to do', async (t) => {
  const { id, token } = await tokenFor(['queue:read'])
  t.equal((await call('GET', '/queue', token)).status, 200)
  await rig.api.delete(`/tokens/${id}`)
  const expired = await tokenFor(['queue:read'], ['*'], { expires_at: '2020-01-01T00:00:00Z' })
  for (const wrong of [undefined, 'rlv_nonsense', token, expired.token]) {
    const answer = await call('GET', '/queue', wrong)
    t.equal(answer.status, 401)
    t.match(answer.type, 'application/problem+json')
    t.match(answer.json, {
      type: 'urn:relevo:problem:unauthorized',
      status: 401,
      remedy: /relevo token create/,
      request_id: /./,
    })
  }
})

await t.test('each route wants its permission, and says which', async (t) => {
  const { token } = await tokenFor(['send'])
  const routes: readonly [string, string, string][] = [
    ['GET', '/queue', 'queue:read'],
    ['GET', '/queue/x', 'queue:read'],
    ['DELETE', '/queue/x', 'queue:write'],
    ['POST', '/queue/steer', 'queue:write'],
    ['GET', '/domains', 'domains:read'],
    ['POST', '/domains', 'domains:write'],
    ['GET', '/domains/x.test/dns-records', 'domains:read'],
    ['POST', '/domains/x.test/dkim/rotate', 'domains:write'],
    ['POST', '/domains/dns-check', 'domains:write'],
    ['GET', '/providers', 'providers:read'],
    ['PUT', '/providers/own', 'providers:write'],
    ['GET', '/bounces', 'suppressions:read'],
    ['POST', '/bounces', 'suppressions:write'],
    ['POST', '/bounces/import', 'suppressions:write'],
    ['GET', '/credentials', 'credentials:read'],
    ['POST', '/credentials', 'credentials:write'],
    ['GET', '/tokens', 'tokens:read'],
    ['POST', '/tokens', 'tokens:write'],
    ['GET', '/events', 'events:read'],
    ['GET', '/inbound', 'events:read'],
    ['GET', '/status', 'metrics:read'],
    ['GET', '/warmup', 'providers:read'],
  ]
  for (const [method, path, permission] of routes) {
    const answer = await call(method, path, token)
    t.equal(answer.status, 403, `${method} ${path}`)
    t.match(answer.json.detail, permission)
  }
  t.equal((await call('GET', '/sandbox/mails', token)).status, 404, 'only the local socket of a sandbox has that')
})

await t.test('a token bounded to a domain sees and lifts nothing of another', async (t) => {
  await rig.api.post('/domains', { name: 'other.test' })
  const { token } = await tokenFor(
    ['send', 'queue:read', 'queue:write', 'suppressions:read', 'suppressions:write', 'events:read', 'domains:read'],
    ['other.test'],
  )
  const sent = await rig.api.post<{ id: string }>('/queue', {
    from: `a@${DOMAIN}`,
    to: 'x@good.test',
    subject: 's',
    text: 't',
  })
  t.equal((await call('GET', `/queue/${sent.id}`, token)).status, 404)
  t.equal((await call('DELETE', `/queue/${sent.id}`, token)).status, 404)
  t.same((await call('GET', '/queue', token)).json.messages, [])
  t.equal((await call('GET', `/queue?sending_domain=${DOMAIN}`, token)).status, 403)
  t.equal((await call('GET', '/events', token)).status, 403)
  t.match((await call('GET', '/domains', token)).json.domains, [{ name: 'other.test' }])
  await rig.api.post('/bounces', { address: 'dead@good.test' })
  await rig.api.post('/bounces', { address: 'mine@good.test', scope: 'domain:other.test' })
  t.match((await call('GET', '/bounces', token)).json.suppressions, [{ address: 'mine@good.test' }])
  t.equal((await call('DELETE', '/bounces/dead@good.test', token)).status, 403)
  t.equal((await call('DELETE', '/bounces/mine@good.test', token)).status, 200)
  t.match(await call('POST', '/queue', token, { from: `a@${DOMAIN}`, to: 'x@good.test', subject: 's', text: 't' }), {
    status: 403,
  })
})

await t.test('bad input names the field; an unknown field is refused, never dropped', async (t) => {
  const { token } = await tokenFor([
    'domains:write',
    'providers:write',
    'queue:write',
    'queue:read',
    'suppressions:write',
  ])
  for (const [method, path, body, field] of [
    ['POST', '/domains', { name: 'new.test', bouncehost: 'x' }, 'bouncehost'],
    ['POST', '/domains', {}, 'name'],
    ['POST', '/domains', { name: 'localhost' }, 'name'],
    ['POST', '/providers', { name: 'x', host: 'h', port: 70_000 }, 'port'],
    ['POST', '/providers', { name: 'x', host: 'a b' }, 'host'],
    ['POST', '/queue/steer', { action: 'hold', filter: { status: 'nonsense' } }, 'status'],
    ['POST', '/queue/steer', { action: 'hold', filter: { accepted_before: 'yesterday' } }, 'accepted_before'],
    ['POST', '/bounces', { address: 'no address' }, 'address'],
    ['POST', '/bounces', { address: 'a@b.test', scope: 'nowhere' }, 'scope'],
    ['GET', '/queue?limit=0', undefined, 'limit'],
  ] as const) {
    const answer = await call(method, path, token, body)
    t.equal(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}`)
    t.equal(answer.json.field, field)
  }
  t.equal((await call('GET', '/nowhere', token)).status, 404)
})

await t.test('writes leave an audit entry, without secrets, and secrets never come back', async (t) => {
  await rig.api.post('/providers', { name: 'net', host: 'smtp.net.test', username: 'u', password: 'hunter2hunter2' })
  const { password } = await rig.api.post<{ password: string }>('/credentials', { username: 'app', allowed: [DOMAIN] })
  const { token } = await tokenFor(['providers:read', 'credentials:read', 'tokens:read'])
  for (const path of ['/providers', '/providers/net', '/credentials', '/tokens'])
    t.notMatch(JSON.stringify(await call('GET', path, token)), /hunter2|scrypt|"hash"/, path)
  await rig.end('SIGTERM')
  const { openDatabase, Records } = await import('#store')
  {
    await using database = await openDatabase({ directory: `${rig.directory}/data`, modules: [] })
    const records = new Records(database)
    const rows = await records.read(records.query.selectFrom('audit').selectAll())
    const actions = new Set(rows.map((row) => row.action))
    for (const action of [
      'domain.add',
      'provider.add',
      'credential.create',
      'token.create',
      'token.revoke',
      'suppression.add',
      'suppression.remove',
    ])
      t.ok(actions.has(action), action)
    const text = JSON.stringify(rows)
    t.notMatch(text, /hunter2/)
    t.notOk(text.includes(password))
    t.notOk(text.includes(token))
  }
  t.notMatch(rig.output, /hunter2/)
  t.notOk(rig.output.includes(password) || rig.output.includes(token), 'nor in the log')
})
