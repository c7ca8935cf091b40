import fc from 'fast-check'
import t from 'tap'
import { parseMailboxes, qualifyAddresses } from '#mail'

const whole = (value: string): string => qualifyAddresses(value, (name) => `${name}@host.test`)

void t.test('bare names get a domain, in each form that programs write', async (t) => {
  for (const [given, wanted] of [
    ['root', 'root@host.test'],
    [' root (Cron Daemon)', ' root@host.test (Cron Daemon)'],
    ['Ops Team <ops>', 'Ops Team <ops@host.test>'],
    ['"a, <b>" <www-data>, root', '"a, <b>" <www-data@host.test>, root@host.test'],
    ['(root, too) admin', '(root, too) admin@host.test'],
    ['a@b.test, root,c', 'a@b.test, root@host.test,c@host.test'],
  ] as const)
    t.equal(whole(given), wanted)
})

void t.test('all else stays as it is', async (t) => {
  for (const value of [
    ...['', 'a@b.test', 'A <a@b.test>', 'undisclosed-recipients:;', 'list: root, a@b.test;', '"root"', 'two words'],
    ...['<', '<root', 'ro>ot', '(root', '"root', '=?utf-8?q?x?= <a@b.test>', ',', '<>'],
  ]) {
    t.equal(whole(value), value, value)
  }
})

void t.test(
  'random lists: what could be read can be read afterwards, and no address with a domain changes',
  async (t) => {
    const atom = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
    const one = fc.oneof(
      atom,
      atom.map((name) => `${name}@x.test`),
      fc.tuple(atom, atom).map(([shown, name]) => `"${shown}, (${shown}" <${name}>`),
      fc.tuple(atom, atom).map(([shown, name]) => `${shown} <${name}@x.test>`),
      fc.tuple(atom, atom).map(([name, comment]) => `${name} (${comment}, "${comment})`),
    )
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 8 }), (list) => {
        const before = parseMailboxes(list.join(', '))
        const after = parseMailboxes(whole(list.join(', ')))
        if (!before.ok) return true
        return (
          after.ok &&
          after.value.every(({ address }, at) => {
            const was = before.value[at]!.address
            return address === (was.includes('@') ? was : `${was}@host.test`)
          })
        )
      }),
      { numRuns: 500 },
    )
    t.pass('500 lists')
  },
)
