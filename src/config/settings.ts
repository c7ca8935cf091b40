/** What was written down, before it is checked: a tree of sections, each value with the place it came from. */
export class Settings {
  readonly values = new Map<string, unknown>()
  /** Dotted key → where it was written. */
  readonly #places = new Map<string, Place>()

  set(path: readonly string[], value: unknown, place: Place): void {
    let at = this.values
    for (const name of path.slice(0, -1)) {
      let inner = at.get(name)
      if (inner === undefined) {
        inner = new Map<string, unknown>()
        at.set(name, inner)
      }
      // A value where a section belongs stays, so that it is told.
      if (!(inner instanceof Map)) return
      at = inner as Map<string, unknown>
    }
    at.set(path.at(-1)!, value)
    this.#places.set(path.join('.'), place)
    if (path.length > 1 && !this.#places.has(path[0]!)) this.#places.set(path[0]!, place)
  }

  /** Lays a parsed document over what is there: tables merge, everything else replaces. */
  merge(document: Readonly<Record<string, unknown>>, placeOf: (path: readonly string[]) => Place): void {
    for (const [name, value] of Object.entries(document)) {
      if (!isTable(value)) {
        this.set([name], value, placeOf([name]))
        continue
      }
      this.#section(name, placeOf([name]))
      for (const [inner, leaf] of Object.entries(value)) this.set([name, inner], leaf, placeOf([name, inner]))
    }
  }

  /** Where exactly this key was written, null when it was not. */
  writtenAt(key: string): string | null {
    return this.#places.get(key)?.name ?? null
  }

  /** The place of the key itself or of the nearest thing around it. */
  placeOf(key: string): Place | null {
    for (let at = key.replace(/\[.*/, ''); at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
      const place = this.#places.get(at)
      if (place !== undefined) return place
    }
    return null
  }

  #section(name: string, place: Place): void {
    if (this.values.has(name)) return
    this.values.set(name, new Map())
    this.#places.set(name, place)
  }
}

export type Place = {
  /** As shown: `relevo.toml:12`, `RELEVO__log__level`, `--set log.level`. */
  readonly name: string
  /** What relative paths written there are relative to. */
  readonly directory: string
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
