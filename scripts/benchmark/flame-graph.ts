/** What V8 writes (the DevTools protocol's Profiler.Profile). */
export type Profile = {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const IDLE = new Set(['(idle)', '(root)', '(program)'])
const WIDTH = 1600
const ROW = 16

/** The functions by the time they took themselves, the longest first. */
export function selfTimes(profile: Profile): {
  readonly busyMs: number
  readonly lines: readonly { at: string; ms: number }[]
} {
  const own = ownMicros(profile)
  const byPlace = new Map<string, number>()
  let busy = 0
  for (const { id, callFrame } of profile.nodes) {
    const micros = own.get(id) ?? 0
    if (IDLE.has(callFrame.functionName) || micros === 0) continue
    busy += micros
    const at = placeOf(callFrame)
    byPlace.set(at, (byPlace.get(at) ?? 0) + micros)
  }
  const lines = [...byPlace].map(([at, micros]) => ({ at, ms: micros / 1000 })).sort((a, b) => b.ms - a.ms)
  return { busyMs: busy / 1000, lines }
}

/** An SVG: each box a function under its caller, as wide as the time spent in it; what is narrower than a point is left out. */
export function flameGraph(profile: Profile): string {
  const own = ownMicros(profile)
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const whole = new Map<number, number>()
  const root = profile.nodes[0]!
  // Children before their parents, without recursion.
  const order: number[] = []
  const stack = [root.id]
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    order.push(id)
    stack.push(...(nodes.get(id)?.children ?? []))
  }
  for (const id of order.reverse()) {
    const node = nodes.get(id)!
    const idle = IDLE.has(node.callFrame.functionName) && id !== root.id
    const below = (node.children ?? []).reduce((sum, child) => sum + (whole.get(child) ?? 0), 0)
    whole.set(id, idle ? 0 : below + (id === root.id ? 0 : (own.get(id) ?? 0)))
  }
  const total = whole.get(root.id) || 1
  const boxes: string[] = []
  let deepest = 0
  const waiting: [id: number, x: number, depth: number][] = [[root.id, 0, 0]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [id, x, depth] = next
    const node = nodes.get(id)!
    const width = ((whole.get(id) ?? 0) / total) * WIDTH
    if (width < 1) continue
    deepest = Math.max(deepest, depth)
    boxes.push(box(placeOf(node.callFrame), x, depth, width, (whole.get(id) ?? 0) / total))
    let at = x
    for (const child of node.children ?? []) {
      waiting.push([child, at, depth + 1])
      at += ((whole.get(child) ?? 0) / total) * WIDTH
    }
  }
  const height = (deepest + 1) * ROW
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">\n${boxes.join('\n')}\n</svg>\n`
}

function box(label: string, x: number, depth: number, width: number, share: number): string {
  const hue = [...label].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 60, 7)
  const shown = label.slice(0, Math.floor(width / 6))
  return `<g><title>${escaped(label)} ${(share * 100).toFixed(1)} %</title><rect x="${x.toFixed(1)}" y="${depth * ROW}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="hsl(${hue},70%,65%)"/><text x="${(x + 2).toFixed(1)}" y="${depth * ROW + 11}">${escaped(shown)}</text></g>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function placeOf({ functionName, url, lineNumber }: Profile['nodes'][number]['callFrame']): string {
  const file = url.replace(/^.*\/(src|node_modules)\//, '').replace(/^node:/, 'node:')
  return `${functionName || '(anonymous)'}${file === '' ? '' : ` ${file}:${lineNumber + 1}`}`
}

function ownMicros(profile: Profile): ReadonlyMap<number, number> {
  const own = new Map<number, number>()
  profile.samples.forEach((id, at) => {
    own.set(id, (own.get(id) ?? 0) + Math.max(0, profile.timeDeltas[at] ?? 0))
  })
  return own
}
