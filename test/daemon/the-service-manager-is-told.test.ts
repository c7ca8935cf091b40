import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { getuid } from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { tempDir } from '#world'
import { hasDebianOracle } from '../mail/debian-oracle.ts'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'
import { NotifyReceiver } from './notify-receiver.ts'
import { SlowSync } from './slow-sync.ts'

void t.test('ready, each reload, and the end are told in order, each with a status', async (t) => {
  if (!NotifyReceiver.possible(t)) return
  await using directory = await tempDir()
  const path = directory.join('notify')
  await using receiver = await NotifyReceiver.open(path)
  await using rig = await DaemonRig.open({ prefix: ['env', `NOTIFY_SOCKET=${path}`] })
  t.ok(await rig.until(() => receiver.count('READY=1') === 1))
  t.match(receiver.told[0]?.states, ['READY=1', 'STATUS=live: takes mail'])

  rig.process?.kill('SIGHUP')
  t.ok(await rig.until(() => receiver.count('READY=1') === 2))
  const began = receiver.told.find(({ states }) => states[0] === 'RELOADING=1')
  const usec = Number(/^MONOTONIC_USEC=(\d+)$/.exec(began?.states[1] ?? '')?.[1])
  t.ok(usec <= began!.atUsec && usec > began!.atUsec - 20_000_000, `${usec} is just before ${began?.atUsec}`)

  writeFileSync(rig.configFile, `${readFileSync(rig.configFile, 'utf8')}\nnonsense = true\n`)
  rig.process?.kill('SIGHUP')
  t.ok(await rig.until(() => receiver.count('READY=1') === 3), 'a bad file ends the reload as well')
  t.match(receiver.told.at(-1)?.states, ['READY=1', /STATUS=the new configuration is not used/])

  t.equal(await rig.end('SIGTERM'), 0)
  t.ok(await rig.until(() => receiver.count('STOPPING=1') === 1))
  t.strictSame(receiver.words(), [...['READY=1', 'RELOADING=1', 'READY=1', 'RELOADING=1', 'READY=1', 'STOPPING=1']])
})

void t.test(
  'a store whose disk hangs is no sign of life, though the event loop answers; then it goes on',
  async (t) => {
    t.setTimeout(120_000)
    if (!NotifyReceiver.possible(t) || !hasDebianOracle(t, 'strace', '/usr/bin/strace')) return
    if (getuid?.() !== 0) {
      t.comment('left out: a disk that hangs needs root for strace (remedy: sudo)')
      return
    }
    await using directory = await tempDir()
    const path = directory.join('notify')
    await using receiver = await NotifyReceiver.open(path)
    await using rig = await DaemonRig.open({ prefix: ['env', `NOTIFY_SOCKET=${path}`, 'WATCHDOG_USEC=1500000'] })
    t.ok(await rig.until(() => receiver.count('WATCHDOG=1') >= 2), 'signs of life come by themselves')
    t.match(receiver.told.at(-1)?.states[1], /^STATUS=live: \d+ sessions, \d+ connections to mail hosts$/)

    let before = 0
    let handedIn: Promise<unknown>
    {
      await using _hanging = await SlowSync.of(rig.process!.pid!)
      handedIn = rig.api
        .post('/queue', { from: `app@${DOMAIN}`, to: 'one@good.test', subject: 'x', text: 'x' })
        .catch((error: unknown) => error)
      // What was asked before the disk hung may still be told.
      await pause(3000)
      before = receiver.count('WATCHDOG=1')
      await pause(4000)
      const health = await fetch(`http://127.0.0.1:${rig.ports.metrics}/healthz`, {
        signal: AbortSignal.timeout(10_000),
      })
      t.equal(health.status, 200, 'the event loop answers')
      t.equal(receiver.count('WATCHDOG=1'), before, 'no sign of life in eight times the interval')
    }
    t.ok(await rig.until(() => receiver.count('WATCHDOG=1') > before), 'it goes on when the disk does')
    await handedIn
    t.ok(await rig.until(() => rig.mx.taken.length === 1), 'and the mail that waited arrives')
    t.equal(await rig.end('SIGTERM'), 0)
  },
)

void t.test('nobody is told, and nothing run, who did not ask', async (t) => {
  await using directory = await tempDir()
  const bin = directory.join('bin')
  mkdirSync(bin)
  const ran = directory.join('ran')
  writeFileSync(join(bin, 'systemd-notify'), `#!/bin/sh\necho "$@" >>${ran}\nexit 1\n`, { mode: 0o755 })
  const environment = (...more: string[]): string[] => [
    'env',
    '-u',
    'NOTIFY_SOCKET',
    `PATH=${bin}:${process.env.PATH}`,
    ...more,
  ]
  await using rig = await DaemonRig.open({ prefix: environment('WATCHDOG_USEC=300000') })
  await pause(1000)
  await rig.end('SIGTERM')
  t.notOk(existsSync(ran), 'without NOTIFY_SOCKET')

  rig.launch(environment(`NOTIFY_SOCKET=${directory.join('gone')}`, 'WATCHDOG_USEC=300000', 'WATCHDOG_PID=1'))
  t.ok(await rig.until(() => rig.output.includes('the service manager cannot be told')), 'a helper that fails is named')
  t.equal(await rig.end('SIGTERM'), 0, 'and ends nothing')
  t.notMatch(readFileSync(ran, 'utf8'), /WATCHDOG/, 'a watchdog meant for another process is left alone')
})
