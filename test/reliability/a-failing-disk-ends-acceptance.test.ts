import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { injected, Tracer } from '../../scripts/prove/crash/faults.ts'
import { holds, Ledger } from '../../scripts/prove/crash/ledger.ts'
import { submit } from '../../scripts/prove/crash/submitters.ts'
import { DaemonRig } from '../daemon/daemon-rig.ts'
import { hasProgram } from '../store/store-rig.ts'

/** Answers that tell a client to give up, which a failing disk is no reason for: HTTP 4xx, or 5yz as the first refusal by SMTP. */
function final(answers: Iterable<string>): string[] {
  return [...answers].filter((answer) => {
    if (answer.includes(' {')) return answer.startsWith('4')
    return (
      answer
        .split(' | ')
        .find((reply) => /^[45]/.test(reply))
        ?.startsWith('5') === true
    )
  })
}

void t.test('I-11: after a sync that failed nothing is acknowledged, it says so and ends', async (t) => {
  t.setTimeout(120_000)
  if (!hasProgram(t, 'strace', 'strace')) return
  const ledger = new Ledger()
  await using rig = await DaemonRig.open({ good: ledger.host() })
  const stop = new AbortController()
  const submitting = submit(rig, ledger, { smtp: 3, http: 2, pauseMs: 5 }, stop.signal)
  await rig.until(() => ledger.acked.size > 30)
  const log = join(rig.directory, 'strace')
  const args = ['-f', '-o', log, '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=12+']
  const daemon = rig.process!
  {
    await using _tracer = await Tracer.attach(daemon.pid!, args)
    t.ok(await rig.until(() => injected(log) > 0), 'a sync fails')
    const acked = ledger.acked.size
    t.ok(await rig.until(() => daemon.exitCode !== null), 'it ends by itself')
    // Answers to commits before the failure may have been under way: no more than the submitters.
    t.ok(ledger.acked.size - acked <= 10, `${ledger.acked.size - acked} acknowledged afterwards`)
  }
  t.equal(daemon.exitCode, 74)
  t.match(rig.output, /the store cannot be written any more: .*EIO.* Check the disk and the system log/)
  await rig.start()
  await rig.until(() => ledger.taken.size > 60)
  stop.abort()
  const { refused } = await submitting
  t.same(final(refused.keys()), [], 'nobody is told to give up')
  t.ok(
    await rig.until(async () => {
      const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
      return queue.ready === 0 && queue.leased === 0
    }),
  )
  const verdict = await ledger.judge(rig)
  t.ok(holds(verdict), JSON.stringify(verdict).slice(0, 500))
})

void t.test('I-11: what cannot be read from the disk is nobody’s fault, and the mail waits', async (t) => {
  t.setTimeout(120_000)
  if (!hasProgram(t, 'strace', 'strace')) return
  const ledger = new Ledger()
  await using rig = await DaemonRig.open({ good: ledger.host() })
  const stop = new AbortController()
  const submitting = submit(rig, ledger, { smtp: 2, http: 2, pauseMs: 5 }, stop.signal)
  await rig.until(() => ledger.acked.size > 30)
  const log = join(rig.directory, 'strace')
  {
    const args = ['-f', '-o', log, '-e', 'trace=pread64', '-e', 'inject=pread64:error=EIO:when=1+']
    await using _tracer = await Tracer.attach(rig.process!.pid!, args)
    await rig.until(() => injected(log) > 3, 8000)
  }
  t.comment(`${injected(log)} reads failed`)
  rmSync(log)
  stop.abort()
  const { refused } = await submitting
  t.same(final(refused.keys()), [], 'nobody is told to give up')
  await rig.end('SIGKILL')
  await rig.start()
  const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
  t.equal(queue.held, 0, 'nothing is held for a person')
})
