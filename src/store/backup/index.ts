// What is done to a whole store, beside a daemon or without one. A daemon does none of it: each is loaded when it is asked for.
import type { acceptLoss as accept } from './accept-loss.ts'
import type { backupStore as backup } from './backup.ts'
import type { restoreStore as restore } from './restore.ts'

export type { Loss } from './accept-loss.ts'
export type { Progress } from './backup.ts'
export type { Keeping, KeepingTools } from './keeping.ts'
export { type Manifest, readManifest } from './manifest.ts'
export { giveToOwner } from './owner.ts'

export async function acceptLoss(...args: Parameters<typeof accept>): Promise<ReturnType<typeof accept>> {
  return (await import('./accept-loss.ts')).acceptLoss(...args)
}

export async function backupStore(...args: Parameters<typeof backup>): ReturnType<typeof backup> {
  return await (await import('./backup.ts')).backupStore(...args)
}

export async function restoreStore(...args: Parameters<typeof restore>): ReturnType<typeof restore> {
  return await (await import('./restore.ts')).restoreStore(...args)
}
