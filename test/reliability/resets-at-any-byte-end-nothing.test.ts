import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const COMMAND = join(import.meta.dirname, '../../scripts/prove/resets.ts')

void t.test('I-34: 360 connections reset at a random byte, on every side, end nothing and lose nothing', async (t) => {
  t.setTimeout(150_000)
  const args = [COMMAND, '--json', '--plain', '300', '--tls', '40', '--hosts', '20']
  // tap loads its instruments into every child by NODE_OPTIONS.
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '' } })
  t.comment(stdout.trim())
  t.match(JSON.parse(stdout), { byHosts: 20, delivered: true, samePid: true, holds: true })
})
