import { z } from 'zod'
import { DENIALS, PROTOCOL_ERRORS } from '../../src/errors.ts'

/** The attributes that several events share. Each says what it means, for `docs/audit-log.md`. */

/** No control characters, line ends, or characters that change the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const VISIBLE = /^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$/

export const cleaned = z.string().max(256).regex(VISIBLE).meta({
  id: 'text',
  description: 'Text of a caller or an issuer: at most 256 UTF-16 code units, cleaned.',
})
export const text = (meaning: string) => cleaned.describe(meaning)
export const hex = (digits: number, meaning: string) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${digits}}$`))
    .describe(meaning)
export const word = <const Values extends readonly [string, ...string[]]>(
  values: Values,
  meaning: string,
) => z.enum(values).describe(meaning)
export const number = <const Values extends readonly [number, ...number[]]>(
  values: Values,
  meaning: string,
) => z.literal([...values]).describe(meaning)
export const count = (meaning: string) => z.int().min(0).describe(meaning)
export const one = (meaning: string) => z.int().min(1).describe(meaning)
const named = (shape: z.ZodRawShape, id: string) => z.strictObject(shape).meta({ id })

export const refusals = z.enum([...Object.keys(DENIALS), ...Object.keys(PROTOCOL_ERRORS)]).meta({
  id: 'refusal',
  description: 'Name of a refusal: control, dot, cause. `src/errors.ts` lists them.',
})
export const refusal = refusals.optional()

export const product = named(
  { name: text('`gatehouse`'), version: text('Version of the server.') },
  'product',
)
export const endpoint = z
  .union([
    z.strictObject({
      ip: z
        .union([z.ipv4(), z.ipv6()])
        .describe('Client address; behind trusted proxies the one they name.'),
    }),
    z.strictObject({
      name: z.literal('unknown').describe('Only when the connection had no address any more.'),
    }),
  ])
  .meta({ id: 'endpoint' })
const trace = named(
  {
    uid: hex(32, 'Trace id of W3C Trace Context: for linking only, callers can choose it.'),
    span: z.strictObject({
      uid: hex(
        16,
        'Span id: of this server while an OpenTelemetry SDK is loaded, else of the caller.',
      ),
      start_time: count('`time` less `duration`.'),
      end_time: count('`time`.'),
    }),
  },
  'trace',
)
export const service = z.strictObject({ name: text('`gatehouse`') })

export const nobody = z.strictObject({
  name: z.literal('unknown').describe('Nobody was proven to be the caller.'),
  type_id: number([0], '0 unknown; 99 see `type`.'),
})
const known = z.strictObject({
  uid: text('Subject; or its pseudonym, 64 hex digits.'),
  type_id: number([99], '0 unknown; 99 see `type`.'),
  type: word(['oauth', 'api-key', 'anonymous', 'local'], 'How the caller was proven.'),
  programmatic_credentials: z
    .tuple([
      z.strictObject({
        uid: text('Id of the API key, `jti` of the token; or its pseudonym.'),
        type: word(['API Key', 'Access Token'], 'Kind of credential.'),
      }),
    ])
    .optional(),
})
export const proven = {
  user: known,
  idp: z.strictObject({ uid: text('Issuer; `gatehouse` for API keys.') }),
  app_uid: text('OAuth client; or its pseudonym.').optional(),
}
const caller = z.union([z.strictObject({ user: nobody }), z.strictObject(proven)])
export const decided = z.strictObject({
  ...proven,
  authorizations: z.tuple([
    z.strictObject({ decision: word(['allowed', 'denied'], 'The decision, in a word.') }),
  ]),
})

const api = named(
  {
    operation: text('JSON-RPC method; `http` when no message was parsed.'),
    service,
    request: z.strictObject({ uid: z.uuid().describe('Id of the request: `x-request-id`.') }),
  },
  'api',
)

/** Who called what from where. */
export const apiCall = (actor: z.ZodType = caller) => ({
  actor,
  api,
  src_endpoint: endpoint,
  trace: trace.optional(),
})
export const controlled = (
  actions: readonly [number, ...number[]],
  dispositions: readonly [number, ...number[]],
) => ({
  action_id: number(actions, '0 neither; 1 allowed; 2 denied.'),
  disposition_id: number(dispositions, '1 allowed; 2 blocked; 26 unauthorized; 27 error.'),
})
export const repeated = {
  count: one('This record stands for so many like it; absent: for itself.').optional(),
  start_time: count('Beginning of the time that `count` is about, ms.').optional(),
  end_time: count('Its end: `time`.').optional(),
}
export const policyOf = (uid: z.ZodType) =>
  z.strictObject({
    uid,
    version: hex(64, 'SHA-256 of the policies in force; absent before `server.start`.').optional(),
  })
export const duration = count('Milliseconds up to `time`.')

export const head = {
  writer: hex(16, 'Its writer.'),
  sequence: one('Its number.'),
  mac: hex(64, 'Its MAC.'),
}
const torn = one('Bytes of half a line behind it, as a killed process leaves.')
export const predecessor = z
  .union([
    z.strictObject({ ...head, torn_bytes: torn.optional() }),
    z.strictObject({ torn_bytes: torn }),
  ])
  .meta({
    id: 'predecessor',
    description: 'In record 1 alone: the last record that was in the file before this writer.',
  })
export const chain = z
  .strictObject({
    writer: hex(16, 'Names one run of one process.'),
    key: hex(16, 'Id of the MAC key: first 8 bytes of its SHA-256.'),
    prev: hex(64, '`mac` of the record before; 64 zeros in record 1.'),
    mac: hex(64, 'HMAC-SHA256 over the bytes of the line before `,"mac"`.'),
  })
  .meta({ id: 'chain' })
