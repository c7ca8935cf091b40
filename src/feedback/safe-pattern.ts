/** Patterns of rule files are written by people in a hurry and run on text of strangers. */
const MAX_REPEAT = 200
/** The product of a pattern's repetitions bounds its steps at one place of the text. */
const MAX_STEPS = 100_000

/**
 * Why a pattern could take very long, or null. It is linear when each repetition has an upper bound, none stands inside
 * another, and their product stays small; look-around and back-references are not needed to tell replies apart.
 */
export function whyUnsafe(source: string): string | null {
  if (/\(\?<?[=!]/.test(source)) return 'look-around is not known here'
  const repeatedInside: boolean[] = [false]
  let closed = false
  let steps = 1
  for (let at = 0; at < source.length; at++) {
    const character = source[at]!
    const groupRepeats = closed
    closed = false
    if (character === '\\') {
      at++
      if (/[1-9k]/.test(source[at] ?? '')) return 'back-references are not known here'
    } else if (character === '[') at = endOfClass(source, at)
    else if (character === '(') repeatedInside.push(false)
    else if (character === ')') {
      closed = (repeatedInside.length > 1 ? repeatedInside.pop() : false) ?? false
      if (closed) repeatedInside[repeatedInside.length - 1] = true
    } else if (character === '*' || character === '+') return 'a repetition has no upper bound'
    else if (character === '{') {
      const bounds = /^\{(\d{1,6})(,(\d{0,6}))?\}/.exec(source.slice(at, at + 16))
      if (bounds === null) continue
      const most = bounds[2] === undefined ? Number(bounds[1]) : Number(bounds[3] === '' ? Infinity : bounds[3])
      if (most > MAX_REPEAT) return `a repetition goes beyond ${MAX_REPEAT}`
      if (groupRepeats) return 'a repetition stands inside another'
      repeatedInside[repeatedInside.length - 1] = true
      steps *= Math.max(most, 1)
      at += bounds[0].length - 1
    }
  }
  return steps > MAX_STEPS ? 'its repetitions multiply' : null
}

function endOfClass(source: string, from: number): number {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === '\\') at++
    else if (source[at] === ']') return at
  }
  return source.length
}
