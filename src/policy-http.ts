import { z } from 'zod'
import { sessionsPolicy } from './policy-sessions.ts' // optional: legacy-sessions
import { list, section, why } from './policy-shapes.ts'
import { isSerializedOrigin } from './urls.ts'

const host = z
  .string()
  .refine(
    (value) => isSerializedOrigin(`http://${value}`) || isSerializedOrigin(`https://${value}`),
    'must be an exact host or host:port: lower case, no scheme, path or wildcard',
  )

const origin = section({
  value: z
    .string()
    .refine(
      isSerializedOrigin,
      'must be an exact serialized origin: scheme://host[:port], no wildcard',
    ),
  why,
})

export const httpPolicy = section({
  hosts: list(host),
  origins: z
    .array(origin)
    .max(1000)
    .refine(
      (all) => new Set(all.map(({ value }) => value)).size === all.length,
      'has an origin twice',
    )
    .readonly(),
  protocol: section({
    legacy: z.enum([
      'off',
      'stateless',
      'sessions', // optional: legacy-sessions
    ]),
    httpSse: z.boolean(), // optional: legacy-sse
  }),
  sessions: sessionsPolicy, // optional: legacy-sessions
})
