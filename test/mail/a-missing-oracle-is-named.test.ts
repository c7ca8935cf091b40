import t from 'tap'
import { hasDebianOracle } from './debian-oracle.ts'

await t.test('a missing package is named with the remedy, and is a failure only where all is asked for', async (t) => {
  const said: string[] = []
  const fake = {
    fail: (message: string) => said.push(`fail ${message}`),
    comment: (message: string) => said.push(`comment ${message}`),
  }
  const before = process.env.RELEVO_TEST_ALL
  t.teardown(() => {
    if (before === undefined) delete process.env.RELEVO_TEST_ALL
    else process.env.RELEVO_TEST_ALL = before
  })
  delete process.env.RELEVO_TEST_ALL
  t.equal(hasDebianOracle(fake, 'no-such-package', '/no/such/file'), false)
  process.env.RELEVO_TEST_ALL = '1'
  t.equal(hasDebianOracle(fake, 'no-such-package', '/no/such/file'), false)
  t.equal(hasDebianOracle(fake, 'node', process.execPath), true)
  t.strictSame(said, [
    'comment left out: the opinion of no-such-package (remedy: apt-get install no-such-package)',
    'fail no-such-package is needed as a second opinion (remedy: apt-get install no-such-package)',
  ])
})
