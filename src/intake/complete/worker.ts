import { parentPort } from 'node:worker_threads'
import { ownMemory } from '../off-loop.ts'
import { type CompleteJob, completeJob } from './complete-job.ts'

// The thread for large messages. Buffers come and go as plain bytes.
parentPort!.on('message', ({ number, job }: { readonly number: number; readonly job: CompleteJob }) => {
  const { buffer, byteOffset, byteLength } = job.raw
  const answer = completeJob({ ...job, raw: Buffer.from(buffer, byteOffset, byteLength) })
  parentPort!.postMessage({ number, answer }, answer.ok ? [...ownMemory(answer.value.completed.content)] : [])
})
