import { mkdir, writeFile } from 'node:fs/promises'
import t from 'tap'
import { load, loadConfig } from '#config'
import { tempDir } from '#world'

void t.test('without any file: embedded defaults, sandbox', async (t) => {
  await using room = await tempDir()
  const { config, files } = load({ confDir: room.path, env: {} })
  t.strictSame(files, [])
  t.equal(config.mode, 'sandbox')
  t.equal(config.queue.retention_days, 30)
  t.strictSame(config.submission.tls_listen, ['0.0.0.0:465', '[::]:465'])
  t.strictSame(config.sources, [])
})

void t.test('file < conf.d in order of names < environment < --set', async (t) => {
  await using room = await tempDir()
  await mkdir(room.join('conf.d'))
  const file = room.join('relevo.toml')
  const queue = (days: number, inline: number): string =>
    `[queue]\nretention_days = ${days}\ninline_max_bytes = ${inline}\n`
  await writeFile(file, `mode = "sandbox"\n${queue(1, 1)}lease = 61\nmin_free_bytes = 1\n[log]\nlevel = "warn"\n`)
  await writeFile(room.join('conf.d/20.toml'), queue(3, 3))
  await writeFile(room.join('conf.d/10.toml'), `${queue(2, 2)}min_free_bytes = 2\n`)
  await writeFile(room.join('conf.d/30.toml.orig'), queue(9, 9))
  const { config, files, originOf } = load({
    file,
    env: { RELEVO__queue__inline_max_bytes: '4', RELEVO__HTTP__LISTEN: '127.0.0.1:1, [::1]:2', RELEVO_OTHER: 'x' },
    flags: ['http.listen=["127.0.0.1:3"]', 'warmup.enabled=true', 'reputation.block_share=0.5'],
  })
  t.equal(config.queue.lease, 61)
  t.equal(config.queue.min_free_bytes, 2)
  t.equal(config.queue.retention_days, 3)
  t.equal(config.queue.inline_max_bytes, 4)
  t.strictSame(config.http.listen, ['127.0.0.1:3'])
  t.equal(config.warmup.enabled, true)
  t.equal(config.reputation.block_share, 0.5)
  t.strictSame(files, [file, room.join('conf.d/10.toml'), room.join('conf.d/20.toml')])
  t.equal(originOf('queue.lease'), `${file}:5`)
  t.equal(originOf('queue.retention_days'), `${room.join('conf.d/20.toml')}:2`)
  t.equal(originOf('queue.inline_max_bytes'), 'RELEVO__queue__inline_max_bytes')
  t.equal(originOf('http.listen'), '--set http.listen')
  t.equal(originOf('queue.segment_bytes'), null)
})

void t.test('a list of tables comes by the environment too', (t) => {
  const config = loadConfig({
    env: {
      RELEVO__sources: '[{ address = "192.0.2.1", ehlo = "a.example.com" }]',
      RELEVO__delivery__retry_after: '60,120',
    },
  })
  t.strictSame(config.sources, [{ address: '192.0.2.1', ehlo: 'a.example.com' }])
  t.strictSame(config.delivery.retry_after, [60, 120])
  t.end()
})

void t.test('a relative path is relative to whatever says it', async (t) => {
  await using room = await tempDir()
  const file = room.join('relevo.toml')
  await writeFile(file, 'mode = "sandbox"\ndata_dir = "data"\n')
  const config = loadConfig({ file, flags: ['control.socket=run/relevo.sock'], directory: '/somewhere' })
  t.equal(config.data_dir, room.join('data'))
  t.equal(config.control.socket, '/somewhere/run/relevo.sock')
})

for (const [what, env, flags, told] of [
  [
    'an unknown variable',
    { RELEVO__log__levl: 'info' },
    [],
    'RELEVO__log__levl: log.levl is not a key of the configuration',
  ],
  [
    'a variable that is a section',
    { RELEVO__queue: '5', RELEVO__queue__lease: '60' },
    [],
    'RELEVO__queue: queue is "5"; allowed is a section (a table)',
  ],
  [
    'a word for a number',
    {},
    ['queue.retention_days=many'],
    '--set queue.retention_days: queue.retention_days is "many"; allowed is a whole number from 1 to 3650 days',
  ],
  ['a flag without value', {}, ['queue.retention_days'], '--set queue.retention_days: there is no value'],
  [
    'a list that is not closed',
    {},
    ['http.listen=["127.0.0.1:1"'],
    '--set http.listen: http.listen is "[\\"127.0.0.1:1\\""; allowed is a list of texts, each address:port such as 127.0.0.1:25 or [::]:25',
  ],
] as const)
  void t.test(`${what} is told with its name`, (t) => {
    t.throws(() => loadConfig({ env, flags }), { message: told })
    t.end()
  })

void t.test('a file that is named must be there; a directory too', async (t) => {
  await using room = await tempDir()
  t.throws(() => loadConfig({ file: room.join('none.toml') }), {
    message: `${room.join('none.toml')}: there is no such file`,
  })
  t.throws(() => loadConfig({ confDir: room.join('none.d') }), { message: /there is no such file/ })
})

void t.test('a command that only looks for the daemon opens no file named in the configuration', async (t) => {
  await using room = await tempDir()
  const file = room.join('relevo.toml')
  await writeFile(file, 'mode = "sandbox"\n[tls]\ncertificate_file = "a"\nkey_file = "b"\n')
  t.throws(() => loadConfig({ file }), { message: /does not exist/ })
  t.equal(loadConfig({ file, withFiles: false }).tls.key_file, room.join('b'))
})
