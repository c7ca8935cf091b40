import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { RawClient, tempDir } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

const TRIPLET = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
const LIBRARY = `usr/lib/${TRIPLET}/faketime/libfaketimeMT.so.1`
const FAKETIME = [join(import.meta.dirname, '../../.cache/debian', LIBRARY), `/${LIBRARY}`].find((path) =>
  existsSync(path),
)
const RETRY_S = 1
const MONTH_S = 30 * 86_400

async function submit(rig: DaemonRig, to: string): Promise<void> {
  const client = await RawClient.open(rig.ports.trusted)
  await client.reply()
  for (const line of ['EHLO app.test', `MAIL FROM:<app@${DOMAIN}>`, `RCPT TO:<${to}>`, 'DATA']) await client.ask(line)
  const reply = await client.ask(`From: <app@${DOMAIN}>\r\nTo: <${to}>\r\nSubject: ${to}\r\n\r\nHello.\r\n.`)
  client.close()
  if (reply.code !== 250) throw new Error(reply.lines.join(' '))
}

/** Seconds from now to the next change to summer time in Madrid, two seconds before it. */
function toSummerTime(): number {
  const year = new Date().getUTCFullYear() + 1
  const last = new Date(Date.UTC(year, 3, 0))
  last.setUTCDate(last.getUTCDate() - last.getUTCDay())
  return Math.floor((last.getTime() + 3_600_000 - Date.now()) / 1000) - 2
}

void t.test(
  'I-16: the clock set by months, over summer time, by a leap second: nothing expires, storms or stops',
  async (t) => {
    t.setTimeout(170_000)
    if (FAKETIME === undefined) {
      t.comment('left out: the clock of a running daemon (remedy: run scripts/test.sh, which unpacks libfaketime)')
      t.not(process.env.RELEVO_TEST_ALL, '1', 'with --all nothing may be left out')
      return
    }
    await using files = await tempDir()
    const set = (to: string): void => writeFileSync(files.join('clock'), `${to}\n`)
    // It starts two seconds before the change, in what the machine's clock says.
    const startS = toSummerTime()
    set(`+${startS}`)
    let open = false
    const tries: number[] = []
    await using rig = await DaemonRig.open({
      prefix: [
        ...[
          'env',
          'TZ=Europe/Madrid',
          `LD_PRELOAD=${FAKETIME}`,
          'FAKETIME_NO_CACHE=1',
          'FAKETIME_DONT_FAKE_MONOTONIC=1',
        ],
        `FAKETIME_TIMESTAMP_FILE=${files.join('clock')}`,
      ],
      delivery: `retry_after = [${RETRY_S}]\nlifetime = 86400`,
      bad: {
        rcpt: (s, to) => {
          tries.push(performance.now())
          return open ? s.acceptRecipient(to) : '451 4.3.0 not now'
        },
      },
    })
    await submit(rig, 'waits@bad.test')
    t.ok(await rig.until(() => tries.length >= 2), 'it is retried')
    let n = 0
    for (const [name, byS] of [
      ['over the change to summer time', 0],
      ['30 days back', -MONTH_S],
      ['30 days on', MONTH_S],
      ['right again', 0],
      ['a leap second', -1],
    ] as const) {
      const before = tries.length
      const sinceMs = performance.now()
      set(`+${startS + byS}`)
      const friend = `u${n++}@good.test`
      await submit(rig, friend)
      t.ok(
        await rig.until(() => rig.mx.taken.some((mail) => mail.recipients.includes(friend))),
        `${name}: mail is delivered`,
      )
      t.ok(await rig.until(() => tries.length >= before + 2), `${name}: retries go on`)
      await pause(500)
      const most = Math.ceil((performance.now() - sinceMs) / 1000 / RETRY_S) + 1
      t.ok(tries.length - before <= most, `${name}: ${tries.length - before} tries, ${most} are due`)
    }
    const stamps = rig.mx.taken.map((mail) => Number(/\bt=(\d+)/.exec(mail.content.toString('latin1'))?.[1]))
    const latest = Date.now() / 1000 + startS + 60
    t.equal(
      stamps.filter((stamp) => stamp > latest - MONTH_S - 3600 && stamp <= latest).length,
      n,
      'DKIM t= is never in the future',
    )
    open = true
    const sent = async (): Promise<boolean> =>
      (await rig.api.get<{ queue: Record<string, number> }>('/status')).queue.sent === n + 1
    t.ok(await rig.until(sent), 'what waited all the time is sent')
    const { queue } = await rig.api.get<{ queue: Record<string, number> }>('/status')
    t.equal(queue.expired, 0)
    t.match(rig.output, /the clock of this machine was set/, 'and it is said')
  },
)
