// What is done to a whole store, beside a daemon or without one.
export { acceptLoss, type Loss } from './accept-loss.ts'
export { backupStore, type Progress } from './backup.ts'
export type { Keeping, KeepingTools } from './keeping.ts'
export { type Manifest, readManifest } from './manifest.ts'
export { giveToOwner } from './owner.ts'
export { restoreStore } from './restore.ts'
