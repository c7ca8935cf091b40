import type { Verb } from './verb.ts'

export type VerbEntry = { readonly name: string; readonly summary: string; load(): Promise<Verb> }

/** Every verb with its line of --help; the file of a verb is loaded when it is called. */
export const VERBS: readonly VerbEntry[] = [
  entry('config', 'check, explain and show the configuration', async () => (await import('./verbs/config.ts')).config),
  entry('version', 'show the version', async () => (await import('./verbs/version.ts')).version),
]

function entry(name: string, summary: string, load: () => Promise<Verb>): VerbEntry {
  return { name, summary, load }
}
