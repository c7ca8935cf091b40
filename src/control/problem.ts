import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { Fault, isMachineError, type Log, messageOf } from '#base'

/** HTTP status of a fault by its code; a fault not named here is something wrong with the request. */
const STATUS: Readonly<Record<string, number>> = {
  'not-found': 404,
  exists: 409,
  conflict: 409,
  unauthorized: 401,
  forbidden: 403,
  'too-large': 413,
  'rate-limited': 429,
  'insufficient-storage': 507,
  'store-failed': 503,
  'store-closed': 503,
  busy: 503,
}
const FULL = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL'])

/** An error as RFC 9457 problem+json; `type` is stable, `field` and `remedy` say where and what to do. */
export function sendProblem(reply: FastifyReply, request: FastifyRequest, fault: Fault, status?: number): FastifyReply {
  // Whoever is refused before the body was read does not get to send the rest of it.
  if (!request.raw.complete) reply.header('connection', 'close')
  return reply
    .code(status ?? STATUS[fault.code] ?? 400)
    .type('application/problem+json')
    .send({
      type: `urn:relevo:problem:${fault.code}`,
      title: fault.code.replaceAll('-', ' '),
      status: status ?? STATUS[fault.code] ?? 400,
      detail: fault.message,
      ...(fault.field === undefined ? {} : { field: fault.field }),
      ...(fault.remedy === undefined ? {} : { remedy: fault.remedy }),
      request_id: request.id,
    })
}

/** Whatever a route threw, as a problem; what is not the caller's fault is logged and told without its inside. */
export function problemHandler(log: Log) {
  return function onError(error: FastifyError | Fault, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (error instanceof Fault) {
      if (!isMachineError(error)) return sendProblem(reply, request, error)
      log.error({ error: error.message, code: error.code, request_id: request.id }, 'a request failed')
      return sendProblem(reply, request, ofTheDisk(error))
    }
    if ('validation' in error && error.validation) {
      const first = error.validation[0]
      const extra = (first?.params as { additionalProperty?: string; missingProperty?: string } | undefined) ?? {}
      const at = (first?.instancePath ?? '').slice(1).replaceAll('/', '.')
      const field = [at, extra.additionalProperty ?? extra.missingProperty].filter(Boolean).join('.')
      return sendProblem(
        reply,
        request,
        new Fault(`${field || error.validationContext || 'the request'} ${first?.message ?? 'is not valid'}`, {
          code: 'invalid-request',
          field,
          remedy: 'Correct the field and send the request again.',
        }),
      )
    }
    const { statusCode = 500 } = error as FastifyError
    if (statusCode < 500)
      return sendProblem(reply, request, new Fault(error.message, { code: 'invalid-request' }), statusCode)
    log.error({ error: messageOf(error), request_id: request.id, route: request.routeOptions.url }, 'a request failed')
    return sendProblem(
      reply,
      request,
      new Fault('the request could not be carried out', {
        code: 'internal-error',
        remedy: `Look for request_id ${request.id} in the log.`,
      }),
      500,
    )
  }
}

/** What the system or SQLite said of the disk is never the caller's fault: the same request may be sent again. */
function ofTheDisk({ code }: Fault): Fault {
  const remedy = 'Try again later.'
  return FULL.has(code)
    ? new Fault('there is not enough free space', { code: 'insufficient-storage', remedy })
    : new Fault('the store could not be read or written', { code: 'store-failed', remedy })
}

export function notFound(what: string, name: string): Fault {
  return new Fault(`there is no ${what} ${JSON.stringify(name)}`, { code: 'not-found' })
}
