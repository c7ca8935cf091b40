import { readFile } from 'node:fs/promises'
import { RawClient } from './raw-client.ts'

export type DialogueOptions = {
  readonly host?: string
  /** `%{name}` in a line is replaced by its value. */
  readonly values?: Readonly<Record<string, string>>
  readonly replyMs?: number
}

/**
 * Speaks a conversation with a server and fails at the first answer that differs.
 *
 * - `-> EHLO a.example` says a line, CRLF is added
 * - `=> MAIL\x00\r\n` says these bytes and nothing else; `\r \n \t \\ \xHH` are read
 * - `<- 250` one reply, all its lines; one of them must begin with this (`250-PIPELINING` matches the last line too)
 * - `<~ ^550 5\.7` the same with a regular expression
 * - `<closed>` the server closes the connection
 * - `<tls>` the handshake; `<wait 50>` waits so many milliseconds
 * - `# …` and empty lines say nothing
 *
 * @returns what was said, for the test's message
 * @throws Error naming the line and the answer that came
 */
export async function dialogue(
  port: number,
  lines: readonly string[],
  options: DialogueOptions = {},
): Promise<readonly string[]> {
  const said: string[] = []
  const client = await RawClient.open(port, options.host)
  try {
    for (const [index, original] of lines.entries()) {
      const line = filled(original, options.values ?? {})
      if (line.trim() === '' || line.startsWith('#')) continue
      const wrong = await step(client, line, said, options.replyMs ?? 10_000)
      if (wrong !== null) {
        throw new Error(`line ${index + 1}, "${line}": ${wrong}\n${said.map((one) => `  ${one}`).join('\n')}`)
      }
    }
  } finally {
    client.close()
  }
  return said
}

/** A conversation kept in a `.smtp` file. */
export async function dialogueFile(
  port: number,
  path: string,
  options: DialogueOptions = {},
): Promise<readonly string[]> {
  return dialogue(port, (await readFile(path, 'utf8')).split('\n'), options)
}

async function step(client: RawClient, line: string, said: string[], replyMs: number): Promise<string | null> {
  const mark = line.slice(0, 3)
  const rest = line.slice(3)
  if (mark === '-> ' || line === '->') {
    said.push(line)
    client.write(`${rest}\r\n`)
    return null
  }
  if (mark === '=> ') {
    said.push(line)
    client.write(unescaped(rest))
    return null
  }
  if (mark === '<- ' || mark === '<~ ') {
    const reply = await client.reply(replyMs)
    if (!reply) return 'the connection was closed'
    said.push(...reply.lines.map((one) => `<- ${one}`))
    const wanted = mark === '<~ ' ? new RegExp(rest) : null
    const fits = reply.lines.some((one) => (wanted ? wanted.test(one) : begins(one, rest)))
    return fits ? null : `came "${reply.lines.join(' / ')}"`
  }
  if (line === '<closed>') {
    const reply = await client.reply(replyMs)
    return reply === null ? null : `came "${reply.lines.join(' / ')}"`
  }
  if (line === '<tls>') {
    await client.startTls()
    return null
  }
  const wait = /^<wait (\d+)>$/.exec(line)
  if (!wait) throw new Error(`not a line of a dialogue: ${line}`)
  await new Promise((resolve) => setTimeout(resolve, Number(wait[1])))
  return null
}

/** The fourth character says whether more lines follow, which is nothing a test should depend on. */
function begins(line: string, wanted: string): boolean {
  const even = (text: string): string => (text.length > 3 ? `${text.slice(0, 3)} ${text.slice(4)}` : text)
  return even(line).startsWith(even(wanted))
}

function filled(line: string, values: Readonly<Record<string, string>>): string {
  return line.replace(/%\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole)
}

const ESCAPES: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t', '\\': '\\' }

function unescaped(text: string): Buffer {
  const plain = text.replace(/\\(?:x([0-9a-f]{2})|([rnt\\]))/gi, (_, hex: string | undefined, letter: string) =>
    hex === undefined ? ESCAPES[letter]! : String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return Buffer.from(plain, 'latin1')
}
