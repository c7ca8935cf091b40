import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '#base'
import { loadMasterKey, Records, Vault } from '#store'
import { directory, open } from './store-rig.ts'

const own = (directory: string) => loadMasterKey({ file: '', credentialFile: null, directory })

void t.test('only with their master key, their purpose, unaltered', async (t) => {
  const path = directory(t)
  const masterKey = own(path)
  await using database = await open(path)
  const records = new Records(database)
  const vault = await Vault.open(records, masterKey, systemClock)
  const sealed = vault.seal('s3cret', 'test')
  t.notMatch(sealed, /s3cret/)
  t.not(vault.seal('s3cret', 'test'), sealed, 'the same is never sealed to the same')
  t.equal((await Vault.open(records, own(path), systemClock)).open(sealed, 'test').toString(), 's3cret')
  t.same(vault.open(vault.seal(new Uint8Array([0, 255]), 'test'), 'test'), Buffer.from([0, 255]))
  t.throws(() => vault.open(sealed, 'other'), { code: 'unreadable-secret' })
  for (const altered of [`${sealed.slice(0, -4)}AAA=`, `x${sealed}`, sealed.slice(0, 40), '', 'a:b'])
    t.throws(() => vault.open(altered, 'test'), { code: 'unreadable-secret' }, altered)
  const other = own(directory(t))
  await t.rejects(Vault.open(records, other, systemClock), { code: 'wrong-master-key', exitCode: 78, remedy: /./ })
  const { query } = records
  const stored = await records.readOne(query.selectFrom('data_keys').select('sealed'))
  t.notOk(stored?.sealed.includes(masterKey.toString('base64')))
  await records.write(query.updateTable('data_keys').set({ sealed: `${stored!.sealed.slice(0, -4)}AAA=` }))
  await t.rejects(Vault.open(records, masterKey, systemClock), { code: 'damaged-store', message: /data key/ })
})

void t.test('the master key: made once, for its owner only; never replaced, never half read', (t) => {
  const path = directory(t)
  const key = own(path)
  const file = join(path, 'master.key')
  t.equal(key.length, 32)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.ok(own(path).equals(key))
  const given = (file: string) => () => loadMasterKey({ file, credentialFile: null, directory: path })
  chmodSync(file, 0o640)
  t.throws(given(file), { code: 'bad-master-key', remedy: /chmod 600/ })
  t.ok(loadMasterKey({ file: '', credentialFile: file, directory: path }).equals(key), 'systemd guards its own')
  chmodSync(file, 0o600)
  t.throws(given(join(path, 'none')), { code: 'bad-master-key', message: /cannot be read/ })
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 20))
  t.throws(given(file), { code: 'bad-master-key', message: /32 bytes/ })
  writeFileSync(join(path, 'relevo.db'), 'x')
  rmSync(file)
  t.throws(() => own(path), { code: 'bad-master-key' }, 'a lost key is not replaced by a new one')
  t.end()
})
