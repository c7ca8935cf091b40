import t from 'tap'
import { Type as TypeBox } from 'typebox'
import { Default } from 'typebox/value'
import { Type } from '#base'

/** The same schema by either builder. */
const schemas = (T: typeof Type) => [
  T.Object(
    {
      name: T.Optional(T.String({ maxLength: 3, description: 'a name' })),
      kind: T.Enum(['x', 'y'], { default: 'x' }),
      much: T.Union([T.Null(), T.Integer({ minimum: 1 })], { description: 'or nothing' }),
      each: T.Record(T.String(), T.String({ maxLength: 4 }), { description: 'by name' }),
      list: T.Array(T.Number(), { maxItems: 3, default: [1] }),
      flag: T.Boolean({ default: true }),
      exact: T.Literal('q'),
      any: T.Unknown(),
    },
    { additionalProperties: false },
  ),
  T.Object({ only: T.Optional(T.Null()) }),
  T.Object({}, { default: {} }),
]

void t.test('the schemas are the same JSON Schema, field by field and in the same order', async (t) => {
  const ours = schemas(Type).map((schema) => JSON.stringify(schema))
  const theirs = schemas(TypeBox as unknown as typeof Type).map((schema) => JSON.stringify(schema))
  t.same(ours, theirs)
  t.equal(new Set(ours).size, 3)
})

void t.test('typebox reads ours as its own: defaults are filled in, optional fields stay out', async (t) => {
  for (const T of [Type, TypeBox as unknown as typeof Type])
    t.same(Default(schemas(T)[0]!, {}), { kind: 'x', list: [1], flag: true })
})
