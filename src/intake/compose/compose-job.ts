import { createHash } from 'node:crypto'
import { Compile, type Validator } from 'typebox/compile'
import { Convert } from 'typebox/value'
import { Fault, failed, ok, type Result } from '#base'
import { type Composition, compose } from './compose.ts'
import { NOT_YET, QueueRequest } from './http-request.ts'

/** The body of a request as it came. */
export type ComposeJob = { readonly body: Uint8Array }

/** The request without what is large, which stands in the composed content. */
export type ReadRequest = {
  readonly request: Omit<QueueRequest, 'text' | 'html' | 'attachments' | 'headers'>
  readonly composition: Composition
  /** SHA-256 of the request, hex: what makes two requests the same under one idempotency key. */
  readonly fingerprint: string
}

/** A Fault as it crosses threads. */
export type RequestProblem = {
  readonly message: string
  readonly code: string
  readonly field?: string
  readonly remedy?: string
}

/** The largest list has 1,000 addresses of two fields each. */
const MAX_VALUES = 5000

let form: Validator | null = null

/** All that looks at every byte of a request: JSON, its form, and the MIME message made of it. */
export async function composeJob({ body }: ComposeJob): Promise<Result<ReadRequest, RequestProblem>> {
  try {
    const whole = readRequest(Buffer.from(body.buffer, body.byteOffset, body.byteLength))
    const composition = await compose(whole)
    const fingerprint = createHash('sha256').update(JSON.stringify(whole)).digest('hex')
    const { text: _text, html: _html, attachments: _attachments, headers: _headers, ...request } = whole
    return ok({ request, composition, fingerprint })
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const { message, code, field, remedy } = error
    return failed({
      message,
      code,
      ...(field === undefined ? {} : { field }),
      ...(remedy === undefined ? {} : { remedy }),
    })
  }
}

function readRequest(body: Buffer): QueueRequest {
  const parsed = parse(body)
  if (typeof parsed === 'object' && parsed !== null)
    for (const [field, remedy] of NOT_YET)
      if (Object.hasOwn(parsed, field))
        throw new Fault(`${field} is not supported`, { code: 'invalid-request', field, remedy })
  refuseBombs(parsed)
  // Numbers for texts and one for a list are what JSON libraries make of loosely typed programs: they are unmistakable.
  const converted = Convert(QueueRequest, parsed)
  form ??= Compile(QueueRequest)
  if (!form.Check(converted)) throw wrongForm(form, converted)
  const request = converted as QueueRequest
  for (const name of ['headers', 'metadata'] as const)
    if (request[name] !== undefined && Object.hasOwn(request[name], '__proto__'))
      throw wrong(`${name}.__proto__`, `${name} must not have the name __proto__`)
  return request
}

/** What costs more than its reading is refused before anything else looks at it: checking is not linear in what is wrong. */
function refuseBombs(parsed: unknown): void {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw wrong('', 'the body is not a JSON object')
  const unknown = Object.keys(parsed).find((name) => !Object.hasOwn(QueueRequest.properties, name))
  if (unknown !== undefined) throw wrong(shown(unknown), `${shown(unknown)} is not a field of this request`)
  for (const [name, value] of Object.entries(parsed)) {
    const left: unknown[] = [value]
    for (let count = 0; left.length > 0; count++) {
      if (count > MAX_VALUES) throw wrong(name, `${name} has more than ${MAX_VALUES} values`)
      const next = left.pop()
      if (typeof next !== 'object' || next === null) continue
      const inside: unknown[] = Object.values(next)
      if (inside.length > MAX_VALUES) throw wrong(name, `${name} has more than ${MAX_VALUES} values`)
      for (const one of inside) left.push(one)
    }
  }
}

function shown(name: string): string {
  return name.slice(0, 100)
}

function parse(body: Buffer): unknown {
  if (body.length === 0) throw wrong('', 'the request has no body')
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw wrong('', `the body is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
}

/** The first thing that is wrong, by the name of its field. */
function wrongForm(form: Validator, request: unknown): Fault {
  const errors = form.Errors(request)
  const error = errors.find(({ keyword }) => keyword !== 'boolean') ?? errors[0]
  const params = (error?.params ?? {}) as {
    readonly requiredProperties?: readonly string[]
    readonly additionalProperties?: readonly string[]
  }
  const inside = params.additionalProperties?.[0] ?? params.requiredProperties?.[0]
  const at = (error?.instancePath ?? '').slice(1).replaceAll('/', '.')
  const field = [at, inside].filter((part) => part !== undefined && part !== '').join('.')
  return wrong(field, `${field || 'the request'} ${said(error?.keyword, error?.message)}`)
}

function said(keyword: string | undefined, message: string | undefined): string {
  if (keyword === 'required') return 'is missing'
  if (keyword === 'additionalProperties') return 'is not a field of this request'
  return message ?? 'is not valid'
}

function wrong(field: string, message: string): Fault {
  return new Fault(message, {
    code: 'invalid-request',
    ...(field === '' ? {} : { field }),
    remedy: 'Correct the field and send the request again.',
  })
}
