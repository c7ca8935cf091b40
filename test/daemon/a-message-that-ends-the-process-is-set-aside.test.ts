import t from 'tap'
import { AS_USUAL } from '#world'
import { DaemonRig, DOMAIN } from './daemon-rig.ts'

const OTHERS = 40

void t.test(
  'the message that brings the process down is found among all in flight; the others are delivered',
  async (t) => {
    t.setTimeout(150_000)
    let kills = 0
    // The host of the test ends the daemon whenever it is handed this one recipient, as a bug in sending it would.
    const killer = {
      rcpt: (_session: unknown, to: string) => {
        if (!to.includes('poison')) return AS_USUAL
        kills += 1
        rig.process?.kill('SIGKILL')
        return AS_USUAL
      },
    } as const
    await using rig = await DaemonRig.open({ good: killer as never, queue: 'lease = 3600' })
    const submit = (to: string) =>
      rig.api
        .post<{ id: string }>('/queue', { from: `app@${DOMAIN}`, to, subject: 'Hello', text: 'Hello.' })
        .catch(() => null)
    const sent: string[] = []
    for (let n = 0; n < OTHERS; n++) {
      if (n === OTHERS / 2) await submit('poison@good.test')
      if ((await submit(`u${n}@good.test`)) !== null) sent.push(`u${n}@good.test`)
      else if (rig.process?.signalCode !== null) await rig.start()
    }
    const held = async (): Promise<boolean> => {
      if (rig.process?.signalCode !== null) await rig.start().catch(() => {})
      const page = await rig.api
        .get<{ messages: { recipient: { address: string; reason: string } }[] }>('/queue?status=held')
        .catch(() => ({ messages: [] }))
      return page.messages.some(({ recipient }) => recipient.address === 'poison@good.test')
    }
    t.ok(await rig.until(held, 100_000), 'it is held')
    t.ok(kills <= 4, `after ${kills} ends of the process`)
    const { messages } = await rig.api.get<{ messages: { recipient: { address: string; reason: string } }[] }>(
      '/queue?status=held',
    )
    t.match(messages, [{ recipient: { address: 'poison@good.test', reason: 'poison' } }])
    t.equal(messages.length, 1, 'and no other is')
    const taken = (): Set<string> => new Set(rig.mx.taken.flatMap(({ recipients }) => recipients))
    t.ok(await rig.until(() => sent.every((address) => taken().has(address))), 'all others were delivered')
    t.ok(sent.length > OTHERS / 2)
  },
)
