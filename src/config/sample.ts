import { stringify } from 'smol-toml'
import { allowed, ROOT, type SchemaNode } from './schema-node.ts'

const WIDTH = 100

/** The annotated sample: every key with its sentence, what is allowed and its default, commented out but for the mode. */
export function renderSample(): string {
  const top: string[] = [
    '# Relevo configuration. Made by `relevo config sample`; a key that is left out has the default shown here.',
    '# Files in conf.d/ beside this one follow in order of their names, then RELEVO__section__key, then --set.',
    '# Relative paths are relative to the file they stand in. Check with: relevo config check',
    '',
  ]
  const sections: string[] = []
  for (const [name, node] of Object.entries(ROOT.properties ?? {})) {
    if (node.type === 'object') {
      sections.push('', ...comment(node.description ?? ''), `[${name}]`)
      for (const [key, leaf] of Object.entries(node.properties ?? {})) sections.push(...setting(key, leaf))
    } else if (node.items?.type === 'object') sections.push('', ...tables(name, node))
    else top.push(...setting(name, node, name !== 'mode'), '')
  }
  return `${[...top.slice(0, -1), ...sections].join('\n')}\n`
}

function setting(key: string, node: SchemaNode, commented = true): string[] {
  return [
    ...comment(node.description ?? ''),
    ...comment(`Allowed: ${allowed(node)}.${node.live === true ? ' A reload is enough.' : ''}`),
    `${commented ? '#' : ''}${stringify({ [key]: node.default }).trim()}`,
  ]
}

function tables(name: string, node: SchemaNode): string[] {
  const lines = [...comment(node.description ?? ''), `#[[${name}]]`]
  for (const [key, leaf] of Object.entries(node.items?.properties ?? {}))
    lines.push(
      ...comment(leaf.description ?? ''),
      ...comment(`Allowed: ${allowed(leaf)}.${leaf.default === undefined ? ' No default.' : ''}`),
      `#${stringify({ [key]: leaf.default ?? leaf.examples?.[0] ?? '' }).trim()}`,
    )
  return lines
}

/** Comment lines of at most WIDTH characters. */
function comment(text: string): string[] {
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}
