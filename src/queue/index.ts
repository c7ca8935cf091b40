// queue: the hub. Keeps every accepted message until each of its recipients is settled; intake puts in, delivery
// claims and settles, control lists and steers. It imports no stage and never decides where or how mail is sent.
export * from './contract.ts'
export { Queue, type QueueOptions, type Why } from './queue.ts'
export { checkQueue } from './sqlite/check.ts'
export { queueKeeping } from './sqlite/keeping.ts'
export { queueWorker, SqliteQueueStore } from './sqlite/sqlite-queue-store.ts'
export { isFinal, NEXT, STATES } from './states.ts'
