import { createRequire } from 'node:module'
import type { FastifyServerOptions } from 'fastify'

type Factory = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>
/** What fastify calls for each schema of a route, and what it gets; validators leave what is wrong in `errors`. */
type Compiled = ((data: unknown) => unknown) & { errors?: unknown }
type Build = (externalSchemas: unknown, options: unknown) => (route: unknown) => Compiled

const require = createRequire(import.meta.url)

function lazy(compilers: string): Build {
  let build: Build | undefined
  return (externalSchemas, options) => (route) => {
    let compiled: Compiled | undefined
    const run: Compiled = (data) => {
      build ??= (require(compilers) as () => Build)()
      compiled ??= build(externalSchemas, options)(route)
      const result = compiled(data)
      run.errors = compiled.errors
      return result
    }
    return run
  }
}

/**
 * Fastify's own compilers, but each schema is compiled at the first request of its route and not at start: the compilers and
 * what they make are a tenth of the memory of a daemon at rest. All listeners share them.
 */
export const lazySchemas = {
  buildValidator: lazy('@fastify/ajv-compiler'),
  buildSerializer: lazy('@fastify/fast-json-stringify-compiler'),
} as unknown as Factory
