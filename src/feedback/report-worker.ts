import { parentPort, workerData } from 'node:worker_threads'
import { loadReplyRules } from './replies.ts'
import { readReport } from './report.ts'

// The thread behind ReportReader.
const rules = loadReplyRules(workerData as string)
parentPort!.on('message', (content: Uint8Array) => {
  parentPort!.postMessage(readReport(content, rules))
})
