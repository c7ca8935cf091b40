import type { Io } from './verb.ts'

export type Row = Readonly<Record<string, unknown>>
/** Column heading → how its text is made of a row. */
export type Columns<R> = Readonly<Record<string, (row: R) => unknown>>

/** Where a command's result goes: a table on a terminal, tab-separated fields in a pipe, JSON lines with --json. */
export class Output {
  readonly json: boolean
  readonly #io: Io

  constructor(io: Io, json: boolean) {
    this.#io = io
    this.json = json
  }

  /** A list. JSON: each row as it is. Pipe: the columns' fields, no heading. */
  rows<R extends object>(rows: readonly R[], columns: Columns<R>): void {
    if (this.json) {
      for (const row of rows) this.#write(JSON.stringify(row))
      return
    }
    const names = Object.keys(columns)
    const cells = rows.map((row) => names.map((name) => cell(columns[name]!(row))))
    if (this.#io.stdout.isTTY !== true) {
      for (const line of cells) this.#write(line.join('\t'))
      return
    }
    if (rows.length === 0) {
      this.note('none')
      return
    }
    const heads = names.map((name) => name.toUpperCase())
    const widths = heads.map((head, i) => Math.min(60, Math.max(head.length, ...cells.map((line) => line[i]!.length))))
    for (const line of [heads, ...cells])
      this.#write(
        line
          .map((text, i) => text.padEnd(widths[i]!))
          .join('  ')
          .trimEnd(),
      )
  }

  /** One thing: a field a line, JSON as one object. */
  record(value: Row, fields: readonly string[] = Object.keys(value)): void {
    if (this.json) {
      this.#write(JSON.stringify(value))
      return
    }
    const shown = fields.filter((name) => value[name] !== undefined && value[name] !== null)
    const width = Math.max(0, ...shown.map((name) => name.length)) + 2
    for (const name of shown)
      this.#write(
        this.#io.stdout.isTTY === true
          ? `${`${name}:`.padEnd(width)}${cell(value[name])}`
          : `${name}\t${cell(value[name])}`,
      )
  }

  /** A sentence for people; with --json the object instead. */
  done(sentence: string, value: Row): void {
    this.#write(this.json ? JSON.stringify(value) : clean(sentence))
  }

  /** Text as it is, whatever the form asked for (a file, a schema). */
  raw(text: string): void {
    this.#io.stdout.write(text)
  }

  /** Something beside the result, on standard error, for people only. */
  note(sentence: string): void {
    if (!this.json) this.#io.stderr.write(`${clean(sentence)}\n`)
  }

  #write(line: string): void {
    this.#io.stdout.write(`${line}\n`)
  }
}

/** One field of a table: no tab, no line end, nothing a terminal would obey. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map(cell).join(',')
  if (typeof value === 'object') return clean(JSON.stringify(value))
  return clean(String(value))
}

/** Remote text reaches terminals: control characters (C0, C1, DEL) and direction overrides become spaces. */
export function clean(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, ' ')
}
