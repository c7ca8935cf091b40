import { request } from 'node:http'

/** Calls to the daemon's local socket, as the quick start needs them. */
export class LocalApi {
  readonly #socket: string

  constructor(socket: string) {
    this.#socket = socket
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path)
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, JSON.stringify(body))
  }

  delete<T>(path: string): Promise<T> {
    return this.#call('DELETE', path)
  }

  async bytes(path: string): Promise<Buffer> {
    return (await this.#send('GET', path)).body
  }

  async #call<T>(method: string, path: string, body?: string): Promise<T> {
    const answer = await this.#send(method, path, body)
    const text = answer.body.toString('utf8')
    if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  #send(method: string, path: string, body?: string): Promise<{ status: number; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' }
      const call = request(
        { socketPath: this.#socket, method, path: `/api/email-system${path}`, headers },
        (answer) => {
          const chunks: Buffer[] = []
          answer.on('data', (chunk: Buffer) => chunks.push(chunk))
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(chunks) }))
          answer.on('error', reject)
        },
      )
      call.on('error', reject)
      call.end(body)
    })
  }
}
