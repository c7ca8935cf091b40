import type { WorkerModuleFactory } from '#store'
import { QueueReading } from './reading.ts'
import { QueueWriting } from './writing.ts'

// The queue's operations in the store's two threads.
const open: WorkerModuleFactory = (context) => {
  const reading = new QueueReading(context)
  if (context.role === 'reader') {
    return {
      ops: {
        'queue.content': (args) => reading.content(args),
        'queue.schedule': (args) => reading.schedule(args),
        'queue.keys': (args) => reading.keys(args),
        'queue.message': (args) => reading.message(args),
        'queue.recipient': (args) => reading.recipient(args),
        'queue.list': (args) => reading.list(args),
        'queue.counts': () => reading.counts(),
      },
    }
  }
  const writing = new QueueWriting(context)
  return {
    ops: {
      'queue.accept': (args) => writing.accept(args),
      'queue.lease': (args) => writing.lease(args),
      'queue.settle': (args) => writing.settle(args),
      'queue.reclaim': (args) => writing.reclaim(args),
      'queue.steer': (args) => writing.steer(args),
      'queue.note': (args) => writing.note(args),
      'queue.hold-damaged': (args) => writing.holdDamaged(args),
      'queue.retire': (args) => writing.retire(args),
      'queue.forget-keys': (args) => writing.forgetKeys(args),
      'queue.forget-events': (args) => writing.forgetEvents(args),
      'queue.reclaim-space': (args) => writing.reclaimSpace(args),
    },
    reads: { 'queue.schedule': (args) => reading.schedule(args) },
    beforeCommit: () => writing.beforeCommit(),
    afterCommit: () => writing.afterCommit(),
    afterRollback: () => writing.afterRollback(),
    close: () => writing.close(),
  }
}

export default open
