import { parentPort } from 'node:worker_threads'
import { ownMemory } from '../off-loop.ts'
import { type ComposeJob, composeJob } from './compose-job.ts'

// The thread for large requests. Buffers come and go as plain bytes.
parentPort!.on('message', ({ number, job }: { readonly number: number; readonly job: ComposeJob }) => {
  void composeJob(job).then((answer) => {
    parentPort!.postMessage({ number, answer }, answer.ok ? [...ownMemory(answer.value.composition.content)] : [])
  })
})
