const KEY_LENGTH = 4

/**
 * Finds which of many phrases stand in a text, in one walk over it. A phrase begins where a word begins ("expected" is not in
 * "unexpected") and may end inside one, so that stems do; one that begins with another script's letter stands anywhere.
 */
export class PhraseIndex {
  readonly #owners = new Map<string, Map<string, number[]>>()
  readonly #lengths: readonly number[]

  /** Owners are numbered in the order given. */
  constructor(phrases: readonly (readonly string[])[]) {
    const lengths = new Set<number>()
    for (const [owner, own] of phrases.entries())
      for (const phrase of own) {
        const key = phrase.slice(0, KEY_LENGTH)
        lengths.add(key.length)
        const sameKey = this.#owners.get(key) ?? new Map<string, number[]>()
        this.#owners.set(key, sameKey)
        sameKey.set(phrase, [...(sameKey.get(phrase) ?? []), owner])
      }
    this.#lengths = [...lengths]
  }

  /** The owners of the phrases that stand in the text. */
  ownersIn(text: string): ReadonlySet<number> {
    const found = new Set<number>()
    let insideWord = false
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      const ofWord = (code >= 97 && code <= 122) || (code >= 48 && code <= 57)
      if (!(ofWord && insideWord))
        for (const length of this.#lengths)
          for (const [phrase, owners] of this.#owners.get(text.slice(at, at + length)) ?? [])
            if (text.startsWith(phrase, at)) for (const owner of owners) found.add(owner)
      insideWord = ofWord
    }
    return found
  }
}
