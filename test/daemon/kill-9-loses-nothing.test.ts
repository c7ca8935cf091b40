import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const COMMAND = join(import.meta.dirname, '../../scripts/prove/kill.ts')
const [RANDOM, AIMED] = [4, 3]
/** Sessions of the mail host: at most one copy each. */
const CONNECTIONS = 20

type Result = {
  readonly kills: { readonly random: number; readonly aimed: number }
  readonly acked: number
  readonly httpAcked: number
  readonly copies: number
  readonly flagged: number
  readonly drained: boolean
  readonly holds: boolean
} & Readonly<Record<'lost' | 'strangers' | 'unflagged' | 'wrongOutcomes' | 'twoMessages', unknown>>

// The long form is the command itself: a thousand kills and more.
void t.test(
  `I-01, I-03, I-04, I-05, I-09: ${RANDOM} kills at random and ${AIMED} just after a 250, under load by SMTP and HTTP`,
  async (t) => {
    t.setTimeout(170_000)
    const args = [COMMAND, '--json', '--kills', String(RANDOM), '--aimed', String(AIMED)]
    // tap loads its instruments into every child by NODE_OPTIONS.
    const env = { ...process.env, NODE_OPTIONS: '' }
    const { stdout } = await promisify(execFile)(process.execPath, args, { env }).catch(
      (error: { stdout: string; stderr: string }) => {
        t.comment(error.stderr)
        return error
      },
    )
    t.comment(stdout.trim())
    const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as Result
    t.match(result, { kills: { random: RANDOM, aimed: AIMED }, drained: true })
    t.ok(result.acked > 50, `${result.acked} acknowledged`)
    t.ok(result.httpAcked > 8, `${result.httpAcked} by HTTP`)
    t.equal(result.lost, 0, 'nothing acknowledged is lost')
    t.equal(result.strangers, 0, 'nothing was sent that was not handed in')
    t.equal(result.wrongOutcomes, 0, 'each recipient has exactly one outcome')
    t.equal(result.twoMessages, 0, 'copies have one Message-ID and one content; a repeated key is one message')
    t.equal(result.unflagged, 0, 'each copy is flagged as a possible one')
    t.ok(result.copies <= (RANDOM + AIMED) * CONNECTIONS, `${result.copies} copies`)
    t.equal(result.holds, true)
  },
)
