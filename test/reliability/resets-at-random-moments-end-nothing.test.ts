import t from 'tap'
import { randomFrom } from '../../scripts/prove/crash/options.ts'
import { resets } from './resets.ts'

// Hosts over TLS as well as in clear; clients at every listener: resets-at-any-byte-end-nothing. The long form: scripts/prove/resets.ts.
void t.test(
  'I-34 resets at random moments, of clients and of hosts, in clear text and under TLS, end nothing',
  async (t) => {
    const seen = await resets(150, randomFrom(Math.floor(Math.random() * 1e9)), () => {})
    t.comment(JSON.stringify(seen))
    t.ok(seen.samePid, 'the process is the same')
    t.strictSame(seen.uncaught, [])
    for (const count of [seen.toIt.plain, seen.toIt.tls, seen.ofIt.plain, seen.ofIt.tls]) t.ok(count > 20)
    const { sent = 0, uncertain = 0, ...others } = seen.ended
    t.strictSame(others, {}, 'each message was sent, or may have been')
    t.ok(sent + uncertain >= seen.acked && seen.acked > 0)
  },
)
