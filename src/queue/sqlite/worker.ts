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
        'queue.verify': () => reading.verify(),
        'queue.keys': (args) => reading.keys(args),
        'queue.message': (args) => reading.message(args),
        'queue.deferrals-by': (args) => reading.deferralsBy(args),
        'queue.recipient': (args) => reading.recipient(args),
        'queue.list': (args) => reading.list(args),
        'queue.counts': () => reading.counts(),
      },
    }
  }
  const { ledger, accepting, leasing, settling, steering, clearing } = new QueueWriting(context)
  return {
    ops: {
      'queue.accept': (args) => accepting.accept(args),
      'queue.lease': (args) => leasing.lease(args),
      'queue.settle': (args) => settling.settle(args),
      'queue.reclaim': (args) => leasing.reclaim(args),
      'queue.steer': (args) => steering.steer(args),
      'queue.note': (args) => settling.note(args),
      'queue.hold-damaged': (args) => steering.holdDamaged(args),
      'queue.retire': (args) => clearing.retire(args),
      'queue.forget-keys': (args) => clearing.forgetKeys(args),
      'queue.forget-events': (args) => clearing.forgetEvents(args),
      'queue.reclaim-space': (args) => clearing.reclaimSpace(args),
    },
    reads: { 'queue.schedule': (args) => reading.schedule(args), 'queue.verify': () => reading.verify() },
    beforeCommit: () => ledger.beforeCommit(),
    afterCommit: () => ledger.afterCommit(),
    afterRollback: () => ledger.afterRollback(),
    close: () => ledger.close(),
  }
}

export default open
