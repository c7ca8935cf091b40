// Relevo against real Postfix hosts: right and wrong TLSA records and MTA-STS policies in a signed zone (nsd, validated by unbound),
// REQUIRETLS and TLS-Required. One line a case: what was expected, what came, and whether Postfix has the mail. Needs root.
import { CASES, runCases } from '../../test/delivery/real-mx/cases.ts'
import { missing } from '../../test/delivery/real-mx/unpacked.ts'
import { optionsOf } from './crash/options.ts'

const options = optionsOf('transport-security.ts', 'TLS policies hold against real Postfix hosts in a signed zone', {
  rounds: [1, 'how often all cases are run'],
})
const say = (text: string): void => {
  if (!options.json) console.log(text)
}

const lacking = missing()
if (lacking !== null) {
  console.error(`transport-security.ts: this machine lacks ${lacking}`)
  process.exit(69)
}
let cases = 0
let failed = 0
const began = performance.now()
for (let round = 0; round < options.rounds && !options.interrupted(); round++) {
  for (const { name, expect, got, taken, detail, ok } of await runCases(say)) {
    cases += 1
    if (!ok) failed += 1
    const has = taken === 0 ? 'Postfix has nothing' : `Postfix has ${taken}`
    say(`${ok ? 'ok    ' : 'FAILED'} ${name}: ${got}${ok ? '' : ` (expected ${expect})`}; ${has}; ${detail}`)
  }
}
const seconds = Math.round((performance.now() - began) / 1000)
console.log(JSON.stringify({ cases, expected: CASES.length * options.rounds, failed, seconds }))
process.exitCode = failed === 0 && cases > 0 ? 0 : 1
