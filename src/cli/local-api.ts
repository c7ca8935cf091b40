import { type IncomingMessage, request } from 'node:http'
import { EX, Fault, messageOf } from '#base'

const BASE = '/api/email-system'
const ANSWER_WITHIN_MS = 130_000

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** The running daemon, over its unix socket. Answers are JSON with snake_case names; problems (RFC 9457) become Faults. */
export class LocalApi {
  readonly #socket: string

  constructor(socket: string) {
    this.#socket = socket
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.#json('GET', withQuery(path, query))
  }

  post<T>(path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<T> {
    return this.#json('POST', path, body === undefined ? undefined : JSON.stringify(body), {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    })
  }

  put<T>(path: string, body: unknown): Promise<T> {
    return this.#json('PUT', path, JSON.stringify(body), { 'content-type': 'application/json' })
  }

  delete<T>(path: string, query: Query = {}): Promise<T> {
    return this.#json('DELETE', withQuery(path, query))
  }

  /** Sends a text as it is (a CSV file). */
  postText<T>(path: string, contentType: string, body: Buffer): Promise<T> {
    return this.#json('POST', path, body, { 'content-type': contentType })
  }

  /** An answer that may be long, as it comes. */
  async stream(path: string, query: Query = {}): Promise<AsyncIterable<Buffer>> {
    const answer = await this.#send('GET', withQuery(path, query))
    if ((answer.statusCode ?? 500) >= 400) throw problem(answer.statusCode ?? 500, await textOf(answer))
    return answer
  }

  async #json<T>(
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<T> {
    const answer = await this.#send(method, path, body, headers)
    const text = await textOf(answer)
    const status = answer.statusCode ?? 500
    if (status >= 400) throw problem(status, text)
    return (text === '' ? undefined : parsed(text)) as T
  }

  #send(
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<IncomingMessage> {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    return new Promise((resolve, reject) => {
      const call = request(
        {
          socketPath: this.#socket,
          method,
          path: BASE + path,
          headers: { host: 'localhost', accept: 'application/json', ...headers, ...length },
          agent: false,
          timeout: ANSWER_WITHIN_MS,
        },
        resolve,
      )
      call.once('timeout', () => call.destroy(new Error(`no answer within ${ANSWER_WITHIN_MS / 1000} s`)))
      call.once('error', (error) => reject(unreachable(this.#socket, error)))
      call.end(body)
    })
  }
}

/** One segment of a path, made safe. */
export function segment(text: string): string {
  return encodeURIComponent(text)
}

function withQuery(path: string, query: Query): string {
  const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  return set.length === 0 ? path : `${path}?${new URLSearchParams(set.map(([name, value]) => [name, String(value)]))}`
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of answer) chunks.push(chunk as Buffer)
  } catch (error) {
    throw new Fault(`the daemon broke off its answer: ${messageOf(error)}`, {
      code: 'daemon-lost',
      exitCode: EX.UNAVAILABLE,
      remedy: 'See its log, and whether what you asked for was done, before you ask again',
    })
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Fault('the answer of the daemon is not JSON', {
      code: 'odd-answer',
      exitCode: EX.SOFTWARE,
      remedy: 'Check that the socket is that of a Relevo of this version',
    })
  }
}

function unreachable(socket: string, error: Error): Fault {
  const code = 'code' in error ? error.code : ''
  if (code === 'EACCES')
    return new Fault(`you may not open ${socket}`, {
      code: 'forbidden',
      exitCode: EX.NOPERM,
      remedy: 'Run it as the user that Relevo runs as, or as root',
      cause: error,
    })
  const down = code === 'ENOENT' || code === 'ECONNREFUSED'
  return new Fault(
    down ? `the daemon is not running: nobody answers at ${socket}` : `the daemon does not answer: ${error.message}`,
    {
      code: 'daemon-down',
      exitCode: EX.UNAVAILABLE,
      remedy: down
        ? 'Start it with: relevo serve (or systemctl start relevo); if it uses another configuration, name that by --config'
        : 'See its log',
      cause: error,
    },
  )
}

/** Exit code by HTTP status. */
function exitCodeOf(status: number): number {
  if (status === 401 || status === 403) return EX.NOPERM
  if (status === 404) return EX.NOINPUT
  if (status === 429 || status === 503 || status === 507) return EX.TEMPFAIL
  if (status >= 500) return EX.SOFTWARE
  return EX.DATAERR
}

type ProblemBody = {
  readonly type?: unknown
  readonly detail?: unknown
  readonly title?: unknown
  readonly field?: unknown
  readonly remedy?: unknown
}

function problem(status: number, text: string): Fault {
  let body: ProblemBody = {}
  try {
    body = Object(JSON.parse(text)) as ProblemBody
  } catch {
    // Not a problem document: the status alone must do.
  }
  const word = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
  const remedy = word(body.remedy)
  const field = word(body.field)
  return new Fault(word(body.detail) ?? word(body.title) ?? `the daemon answered with status ${status}`, {
    code: word(body.type)?.replace(/^urn:relevo:problem:/, '') ?? `http-${status}`,
    exitCode: exitCodeOf(status),
    ...(field === undefined ? {} : { field }),
    ...(remedy === undefined ? {} : { remedy }),
  })
}
