import type { WorkerModuleFactory } from '#store'

const open: WorkerModuleFactory = (context) => ({
  ops: {
    'test.events': (rows) => context.insertEvents(rows),
    'test.suppress': (rows) => context.upsertSuppressions(rows),
    'test.move': (rows) => context.moveCounters(rows),
  },
})

export default open
