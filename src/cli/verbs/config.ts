import { ConfigFault, explain, jsonSchema, renderSample } from '#config'
import { loadFor } from '../load-config.ts'
import type { Command, Group } from '../verb.ts'

const check: Command = {
  summary: 'Checks the configuration and the files it names',
  help: 'Reads what `relevo serve` would read, tells every error at once, and changes nothing. Exit code 78 when there is one.',
  async run({ args, io, out, json }) {
    try {
      const { config, files } = await loadFor(args, io, true)
      const from = files.length === 0 ? 'no file, embedded defaults' : files.join(', ')
      out.done(`the configuration is in order (${from}); mode ${config.mode}`, { ok: true, mode: config.mode, files })
      return undefined
    } catch (error) {
      if (json && error instanceof ConfigFault)
        for (const { field, where, message, remedy } of error.problems)
          io.stdout.write(`${JSON.stringify({ field, where, message, remedy })}\n`)
      throw error
    }
  },
}

const explainKey: Command = {
  summary: 'Tells what a key means',
  operands: 'KEY',
  count: [1, 1],
  help: 'KEY is a dotted key such as queue.retention_days, or a section such as queue.',
  async run({ args, out }) {
    const told = explain(args.operands[0]!)
    if (out.json) out.record(told)
    else if (told.keys.length > 0)
      out.record({ key: `[${told.key}]`, description: told.description, keys: told.keys.join(' ') })
    else
      out.record({
        key: told.key,
        description: told.description,
        allowed: told.allowed,
        default: JSON.stringify(told.default),
        change: told.live ? 'a reload is enough' : 'at the next start',
        environment: told.env,
      })
    return undefined
  },
}

const schema: Command = {
  summary: 'Prints the JSON Schema of the configuration',
  async run({ out }) {
    out.raw(`${JSON.stringify(jsonSchema(), null, out.json ? undefined : 2)}\n`)
    return undefined
  },
}

const sample: Command = {
  summary: 'Prints the annotated sample of a configuration file',
  async run({ out }) {
    if (out.json) out.record({ sample: renderSample() })
    else out.raw(renderSample())
    return undefined
  },
}

const show: Command = {
  summary: 'Shows every key with its value and where it was set',
  options: { changed: { type: 'boolean', help: 'only keys that do not have their default' } },
  async run({ args, io, out }) {
    const { config, originOf } = await loadFor(args, io, false)
    const rows = Object.entries(config).flatMap(([name, value]) =>
      typeof value === 'object' && !Array.isArray(value)
        ? Object.entries(value).map(([inner, leaf]) => rowOf(`${name}.${inner}`, leaf))
        : [rowOf(name, value)],
    )
    function rowOf(key: string, value: unknown) {
      return { key, value, origin: originOf(key) }
    }
    out.rows(
      rows.filter((row) => !args.flag('changed') || row.origin !== null),
      { key: (row) => row.key, value: (row) => JSON.stringify(row.value), origin: (row) => row.origin ?? 'default' },
    )
    return undefined
  },
}

export const config: Group = {
  summary: 'Checks, explains and shows the configuration.',
  commands: { check, explain: explainKey, schema, sample, show },
}
