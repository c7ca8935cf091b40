import t from 'tap'
import { runCases } from './real-mx/cases.ts'
import { missing } from './real-mx/unpacked.ts'

void t.test('I-24 real Postfix hosts in a signed zone: right and wrong TLSA records and policies', async (t) => {
  const lacking = missing()
  if (lacking !== null) {
    if (process.env.RELEVO_TEST_ALL === '1') t.fail(`this test lacks ${lacking}`)
    else t.comment(`left out: real Postfix hosts; this machine lacks ${lacking}`)
    return
  }
  const results = await runCases((text) => t.comment(text))
  for (const { name, expect, got, taken } of results) {
    t.equal(got, expect, name)
    t.equal(taken, expect.startsWith('sent') ? 1 : 0, `${name}: what Postfix has`)
  }
})
