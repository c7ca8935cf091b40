import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { FACTS, type Observations } from '../../scripts/quickstart/facts.ts'

const run = promisify(execFile)
const script = join(import.meta.dirname, '../../scripts/quickstart.sh')
const directory = mkdtempSync(join(tmpdir(), 'relevo-quickstart-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

const observations = join(directory, 'seen.json')
const first = await run(script, ['--once', '--any-port', '--observations', observations])
const seen = JSON.parse(readFileSync(observations, 'utf8')) as Observations

void t.test('the round trip holds, twice', async (t) => {
  const second = await run(script, ['--once', '--any-port'])
  for (const { stdout } of [first, second]) {
    const lines = stdout.trim().split('\n')
    t.equal(lines.filter((line) => line.startsWith('ok ')).length, FACTS.length)
    t.equal(lines.at(-1), `all ${FACTS.length} facts held`)
  }
})

type Path = readonly (string | number)[]

/** What must have been seen otherwise for each fact to fail: one change each. */
const MUTATIONS: Readonly<Record<string, readonly [Path, unknown][]>> = {
  readyz: [
    [['readyz', 'status'], 503],
    [['readyz', 'mode'], 'live'],
    [['readyz', 'ready'], false],
  ],
  submitted: [
    [['submitted', 'reply'], '250 2.0.0 queued as another'],
    [['submitted', 'verified'], false],
    [['submitted', 'protocol'], 'TLSv1.1'],
  ],
  kept: [
    [['kept', 'id'], 'another'],
    [['kept', 'sandbox'], false],
    [['kept', 'state'], 'deferred'],
    [['kept', 'sendingDomain'], 'else.test'],
  ],
  'delivered once': [
    [['sunk', 'count'], 2],
    [['sunk', 'door'], 'relay'],
    [['sunk', 'bodySha256'], '00'],
    [['sent', 'sinkMessageId'], '<another@quickstart.test>'],
  ],
  'return path': [[['sunk', 'mailFrom'], 'app@quickstart.test']],
  rsa: [
    [['signatures', 0, 'result'], 'fail'],
    [['signatures', 0, 'domain'], 'else.test'],
  ],
  ed25519: [[['signatures', 1, 'result'], 'fail']],
  http: [
    [['http', 'status'], 200],
    [['http', 'result'], 'invalid'],
    [['http', 'state'], 'ready'],
  ],
  bounced: [
    [['bounced', 'state'], 'sent'],
    [['bounced', 'class'], 'unclassified'],
    [['bounced', 'hard'], null],
    [['bounced', 'outcomes'], 2],
  ],
  suppressed: [
    [['suppressed', 'reply'], '250 2.0.0 queued as x'],
    [['suppressed', 'entries'], 0],
    [['suppressed', 'reason'], 'manual'],
  ],
  'late bounce': [
    [['lateBounce', 'event'], 'nothing'],
    [['lateBounce', 'state'], 'bounced'],
    [['lateBounce', 'suppressed'], false],
  ],
  forged: [
    [['forged', 'reply'], '250 2.1.5 ok'],
    [['forged', 'entries'], 1],
  ],
  waits: [
    [['greylisted', 'state'], 'sent'],
    [['greylisted', 'class'], 'unclassified'],
    [['greylisted', 'until'], null],
  ],
  paused: [[['handedOver', 'verdict'], 'healthy']],
  'handed over': [
    [['handedOver', 'google'], 'mx'],
    [['handedOver', 'googleProvider'], 'own'],
    [['handedOver', 'yahoo'], 'relay'],
  ],
  stopped: [
    [['stopped', 'exitCode'], 1],
    [['stopped', 'storeOk'], false],
  ],
}

void t.test('each fact fails when what was seen is otherwise', async (t) => {
  t.same(
    Object.keys(MUTATIONS),
    FACTS.map((fact) => fact.name),
  )
  const signatures = [...seen.signatures].sort((a, b) => (a.algorithm > b.algorithm ? -1 : 1))
  for (const fact of FACTS)
    for (const [path, value] of MUTATIONS[fact.name]!) {
      const mutated = structuredClone({ ...seen, signatures })
      t.ok(fact.holds(mutated), `${fact.name} holds as seen`)
      let at = mutated as unknown as Record<string | number, Record<string, unknown>>
      for (const step of path.slice(0, -1)) at = at[step] as never
      ;(at as Record<string | number, unknown>)[path.at(-1)!] = value
      t.notOk(fact.holds(mutated), `${fact.name}: ${path.join('.')} = ${JSON.stringify(value)}`)
    }
})

void t.test('a port that is taken is named with what to do', async (t) => {
  const server = createServer()
  const taken = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(1587, '127.0.0.1', () => resolve(true))
  })
  t.teardown(() => (taken ? new Promise((resolve) => server.close(resolve)) : undefined))
  await t.rejects(run(script, ['--once']), {
    code: 1,
    stderr: /quickstart: port 1587 .* is taken; stop what uses it .* or add --any-port/,
  } as never)
})
