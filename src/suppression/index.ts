// suppression: who must not be written to again, why, since when, for how long and in which scope. Feedback and people
// write into it, intake and delivery ask it. It never decides by itself that an address is bad.
export {
  type Entry,
  type ImportReport,
  type NewEntry,
  type Purpose,
  REASONS,
  type Reason,
  SuppressionList,
} from './suppression-list.ts'
export type { CheckRequest, Suppressed } from './worker.ts'

/** The module of this room for the store's reader worker. */
export const suppressionWorker = {
  name: 'suppression',
  url: new URL('./worker.ts', import.meta.url),
  migrations: [] as const,
}
