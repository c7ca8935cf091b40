import type { WorkerContext } from '#store'
import { Accepting } from './accepting.ts'
import { Clearing } from './clearing.ts'
import { Leasing } from './leasing.ts'
import { Ledger } from './ledger.ts'
import { Settling } from './settling.ts'
import { Steering } from './steering.ts'

/** What changes the queue, in the writer thread, inside the transaction of a batch: one part for each step of a message's life. */
export class QueueWriting {
  readonly ledger: Ledger
  readonly accepting: Accepting
  readonly leasing: Leasing
  readonly settling: Settling
  readonly steering: Steering
  readonly clearing: Clearing

  constructor(context: WorkerContext) {
    this.ledger = new Ledger(context)
    this.accepting = new Accepting(this.ledger)
    this.leasing = new Leasing(this.ledger)
    this.settling = new Settling(this.ledger, this.accepting)
    this.steering = new Steering(this.ledger)
    this.clearing = new Clearing(this.ledger, this.steering)
  }
}
