import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { diffConfig, explain, jsonSchema, load, loadConfig, nearest, renderSample } from '#config'
import { tempDir } from '#world'
import { leaves } from '../../src/config/schema-node.ts'

const SAMPLE = join(import.meta.dirname, '../../config/relevo.sample.toml')

void t.test('config/relevo.sample.toml is what the schema says', (t) => {
  t.equal(
    readFileSync(SAMPLE, 'utf8'),
    renderSample(),
    'make it again: relevo config sample >config/relevo.sample.toml',
  )
  t.end()
})

void t.test('the sample with every line in force is the default configuration', async (t) => {
  await using room = await tempDir()
  const file = room.join('relevo.toml')
  // Tables of a list have no default to be the same as.
  const sample = renderSample().replace(/^#\[\[[\s\S]*?\n\n/gm, '')
  await writeFile(file, sample.replace(/^#(?=[a-z_]+ = )/gm, ''))
  t.strictSame(load({ file }).config, loadConfig())
})

void t.test('every key has its sentence, and the sample shows it', (t) => {
  const sample = renderSample()
  for (const [key, node] of leaves()) {
    t.ok((node.description ?? '').length > 10, `${key} is described`)
    t.match(sample, new RegExp(`^#?(${key.split('.').at(-1)} = |\\[\\[${key})`, 'm'))
    const told = explain(key)
    t.equal(told.description, node.description)
    t.strictSame(told.default, node.default)
    t.not(told.allowed, '')
  }
  t.end()
})

void t.test('explain tells a key, a section, and the nearest key to a wrong one', (t) => {
  t.match(explain('queue.retention_days'), {
    allowed: 'a whole number from 1 to 3650 days',
    default: 30,
    live: false,
    env: 'RELEVO__queue__retention_days',
  })
  t.ok(explain('queue').keys.includes('queue.lease'))
  t.throws(() => explain('queue.retention_day'), {
    message: /./,
    remedy: 'Did you mean queue.retention_days?',
  } as never)
  t.throws(() => explain('retention_day'), { message: /./, remedy: 'Did you mean queue.retention_days?' } as never)
  t.throws(() => explain('__proto__'), { message: '"__proto__" is not a key of the configuration' })
  t.end()
})

void t.test('what is off when empty may be empty', (t) => {
  const config = loadConfig({ flags: ['metrics.listen=', 'dns.check='] })
  t.equal(config.metrics.listen, '')
  t.equal(config.dns.check, '')
  t.throws(() => loadConfig({ flags: ['queue.cleanup='] }), { message: /queue\.cleanup/ })
  t.end()
})

void t.test('the JSON Schema lets out what has a default', (t) => {
  const schema = jsonSchema() as { required: string[]; properties: Record<string, Record<string, unknown>> }
  t.strictSame(schema.required, ['mode'])
  t.notOk('required' in schema.properties.queue!)
  t.strictSame((schema.properties.sources!.items as { required: string[] }).required, ['address', 'ehlo'])
  t.end()
})

void t.test('a reload says what changed and what of it waits for the next start', (t) => {
  const before = loadConfig()
  const after = loadConfig({ flags: ['queue.retention_days=5', 'http.listen=127.0.0.1:1'] })
  const reloaded = { ...after, tls: { ...after.tls, certificate_file: '/new.pem' } }
  t.strictSame(diffConfig(before, before), { changed: [], restart: [] })
  t.strictSame(diffConfig(before, reloaded), {
    changed: ['http.listen', 'tls.certificate_file', 'queue.retention_days'],
    restart: ['http.listen', 'queue.retention_days'],
  })
  t.end()
})

void t.test('the nearest name is near', (t) => {
  t.equal(nearest('retention_day', ['lease', 'retention_days']), 'retention_days')
  t.equal(nearest('foo', ['log', 'http']), null)
  t.equal(nearest('', ['log']), null)
  t.end()
})
