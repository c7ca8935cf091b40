// Ten thousand connections reset at random moments, half of those that come in and half of those that go out, in clear text and
// under TLS, while mail goes on: the process stays, and each message has one end. `node scripts/prove/resets.ts --help`.
import { resets } from '../../test/reliability/resets.ts'
import { optionsOf } from './crash/options.ts'

const options = optionsOf('resets', 'connections reset at random moments end nothing', {
  resets: [10_000, 'in all, half of each side'],
})
const seen = await resets(Math.ceil(options.resets / 2), options.random, (text) => {
  if (!options.json) process.stderr.write(`\r${text.padEnd(60)}`)
})
const { sent = 0, uncertain = 0, ...others } = seen.ended
const passed =
  seen.samePid && seen.uncaught.length === 0 && Object.keys(others).length === 0 && sent + uncertain >= seen.acked
console.log(`${options.json ? '' : '\n'}${JSON.stringify({ ...seen, passed, seed: options.seed })}`)
process.exitCode = passed ? 0 : 1
