import { openLog } from '#base'

// Logs 20 MB to a reader that may not read, and says by IPC how long that took and what it cost.
const log = await openLog('info', process.stdout)
const before = process.memoryUsage().rss
const began = performance.now()
for (let turn = 0; turn < 100; turn++) {
  for (let i = 0; i < 1000; i++) log.info({ turn, i, filler: 'x'.repeat(100) }, 'line')
  await new Promise(setImmediate)
}
process.send?.({ tookMs: performance.now() - began, grewMiB: (process.memoryUsage().rss - before) / 1_048_576 })
process.once('message', () => {
  log.info({}, 'after')
  setTimeout(() => {
    void log.end(500).then(() => process.send?.('ended'))
  }, 300)
})
