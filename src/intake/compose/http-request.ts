import type { Static } from 'typebox'
import { Type } from '#base'
import { PRIORITIES } from '#queue'

const MAX_ADDRESSES = 1000

const text = (description: string, maxLength: number) => Type.String({ maxLength, description })
const mailbox = Type.Union(
  [
    Type.String({ minLength: 3, maxLength: 1000 }),
    Type.Object(
      { email: Type.String({ minLength: 3, maxLength: 320 }), name: Type.Optional(Type.String({ maxLength: 256 })) },
      { additionalProperties: false },
    ),
  ],
  { description: 'An address: `you@example.net`, `You <you@example.net>`, or an object with email and name.' },
)
const mailboxes = Type.Union([mailbox, Type.Array(mailbox, { maxItems: MAX_ADDRESSES })], {
  description: 'One address or a list of them.',
})

/** `POST /queue`: one message as JSON. */
export const QueueRequest = Type.Object(
  {
    from: mailbox,
    to: mailboxes,
    cc: Type.Optional(mailboxes),
    bcc: Type.Optional(mailboxes),
    reply_to: Type.Optional(mailboxes),
    subject: text('The subject.', 998),
    text: Type.Optional(Type.String({ description: 'The plain text. One of text and html is needed.' })),
    html: Type.Optional(Type.String({ description: 'The HTML text.' })),
    attachments: Type.Optional(
      Type.Array(
        Type.Object(
          {
            filename: text('The name shown for it.', 255),
            content: Type.String({ description: 'The bytes, base64.' }),
            content_type: Type.Optional(text('Its media type; by the file name when absent.', 255)),
            cid: Type.Optional(text('Content-ID: the html shows it inline as `cid:<this>`.', 255)),
          },
          { additionalProperties: false },
        ),
        { maxItems: 100 },
      ),
    ),
    headers: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 8000 }), { description: 'Further header fields.' }),
    ),
    priority: Type.Optional(Type.Enum([...PRIORITIES], { description: 'urgent, high, normal or low.' })),
    scheduled_at: Type.Optional(text('Not to be sent before this time, RFC 3339.', 64)),
    expires_at: Type.Optional(text('Not to be sent after this time, RFC 3339.', 64)),
    category: Type.Optional(text('For statistics and suppression.', 128)),
    tags: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 128 }), { maxItems: 32 })),
    metadata: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 1024 }), { description: 'Given back with each event.' }),
    ),
    require_tls: Type.Optional(
      Type.Boolean({ description: 'REQUIRETLS (RFC 8689): verified TLS at every hop, or the message comes back.' }),
    ),
    provider_preference: Type.Optional(text('Name of the provider to use when it can.', 128)),
  },
  { additionalProperties: false },
)
export type QueueRequest = Static<typeof QueueRequest>

const recipientResult = Type.Object({
  address: Type.String(),
  status: Type.Enum(['queued', 'suppressed', 'invalid']),
  reason: Type.Optional(Type.String({ description: 'Why it is not queued.' })),
})

/** The answer: 202 once the message is on disk. */
export const QueueAnswer = Type.Object({
  id: Type.String({ description: 'The id of the message.' }),
  repeated: Type.Boolean({ description: 'An earlier request with this Idempotency-Key was answered with this id.' }),
  recipients: Type.Array(recipientResult),
})
export type QueueAnswer = Static<typeof QueueAnswer>

/** Fields of the API that belong to rooms which are not there yet: refused by name, never ignored. */
export const NOT_YET: ReadonlyMap<string, string> = new Map([
  ['template_id', 'There are no templates here: send subject, html and text themselves.'],
  ['template_variables', 'There are no templates here: send subject, html and text themselves.'],
  ['tracking_enabled', 'Opens and clicks are not tracked here: leave the field out.'],
])
