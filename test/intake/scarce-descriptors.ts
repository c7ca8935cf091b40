import { openRig } from './rig.ts'

// Run by the test of the same subject in a process of its own with few file descriptors: prints its port, stays.
const rig = await openRig({ teardown: () => {} })
process.stdout.write(`${rig.port('starttls')}\n`)
process.stdin.once('data', () => process.exit(0))
