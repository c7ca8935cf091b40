import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { Fault, Type } from '#base'
import type { KeyKeeper } from '#store'
import type { Audit } from '../audit.ts'

const Rotate = Type.Object(
  { new_key: Type.Optional(Type.String({ maxLength: 100, description: '32 bytes in base64.' })) },
  { additionalProperties: false },
)

/** The master key. Only where file permissions say who may: it opens everything that is kept. */
export function keyRoutes(app: FastifyInstance, keys: KeyKeeper, audit: Audit): void {
  app.post('/keys/recovery', {}, async (request) => {
    const { fingerprint, lines } = await keys.showRecovery()
    await audit(request, 'key.show-recovery', fingerprint)
    return { fingerprint, lines }
  })

  app.post<{ Body: Static<typeof Rotate> }>('/keys/rotate', { schema: { body: Rotate } }, async (request) => {
    const { new_key: text } = request.body
    const given = text === undefined ? null : Buffer.from(text, 'base64')
    if (given !== null && given.length !== 32)
      throw new Fault('the new key is not 32 bytes in base64', {
        code: 'invalid-request',
        field: 'new_key',
        remedy: 'Make one with: head -c 32 /dev/urandom | base64',
      })
    const { fingerprint, path } = await keys.rotate(given)
    await audit(request, 'key.rotate', fingerprint)
    return { fingerprint, path }
  })
}
