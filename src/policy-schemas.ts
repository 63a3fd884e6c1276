import { z } from 'zod'
import type { Mode } from './config.ts'
import { checkDpop } from './policy-dpop.ts' // optional: dpop
import { checkIntrospection, introspectionPolicy } from './policy-introspection.ts' // optional: introspection
import { between, list, section, why } from './policy-shapes.ts'
import { isLoopbackUrl } from './urls.ts'

const nonBlank = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 visible ASCII characters')

/** RFC 6749 §3.3. Resource servers do not ask for `offline_access` (MCP Authorization, Refresh tokens). */
const scopeToken = z
  .string()
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, 'must be one scope token (RFC 6749 section 3.3)')
  .refine((scope) => scope !== 'offline_access', 'offline_access is not a scope of a resource')
  .refine((scope) => scope !== '*', 'there is no wildcard: name each scope')

/** Headers that mean something else, or that a proxy or browser may set by itself. */
const RESERVED_HEADER =
  /^(?:authorization|cookie|set-cookie|host|origin|referer|user-agent|from|via|te|trailer|upgrade|expect|connection|keep-alive|date|range|dpop|traceparent|tracestate|last-event-id|forwarded|x-real-ip|x-request-id|transfer-encoding|www-authenticate|(?:accept|content|cache|if|proxy|sec|access-control|mcp|x-forwarded)(?:-.*)?)$/

const keyHeader = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of a header')
  .toLowerCase()
  .refine((name) => !RESERVED_HEADER.test(name), 'is a header with another meaning')

const algorithm = z.enum(
  [
    ...(['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const),
    ...(['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'] as const),
  ],
  'must be an asymmetric signature algorithm',
)

/** Types of JWT that are never access tokens, whatever a policy says (RFC 8725 §3.11). */
const OTHER_TOKEN =
  /^(?:id_token|(?:client-authentication|dpop|entity-statement|id|kb|logout|oauth-authz-req|secevent|token-introspection)\+jwt)$/i

/** A value of `typ` without `application/`; `absent` means a header without `typ`, not that word. */
const tokenType = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/,
    'must be a JWT type without "application/", or absent',
  )
  .refine((type) => !OTHER_TOKEN.test(type), 'is not a type of access tokens')

function remoteUrl(mode: Mode, allowed: { readonly query: boolean }): z.ZodString {
  return z.string().refine((value) => {
    const url = URL.parse(value)
    if (url === null || (url.href !== value && url.href !== `${value}/`)) return false
    if (url.username !== '' || url.password !== '' || value.includes('#')) return false
    if (value.includes('?') && !allowed.query) return false
    return url.protocol === 'https:' || (mode === 'development' && isLoopbackUrl(url))
  }, 'must be a canonical https URL without user or fragment (and, for an issuer, query)')
}

const verification = z.enum([
  'jwt',
  'introspection', // optional: introspection
])

function issuerPolicy(mode: Mode) {
  return section({
    issuer: remoteUrl(mode, { query: false }),
    verification: verification.default('jwt'),
    /** `undefined` means the public URL of this server. */
    audiences: list(nonBlank, 1).optional(),
    algorithms: list(algorithm, 1).prefault(['ES256', 'EdDSA', 'PS256', 'RS256']),
    tokenTypes: list(tokenType, 1).prefault(['at+jwt']),
    senderConstraint: z
      .enum([
        'none',
        'mtls',
        'dpop', // optional: dpop
      ])
      .default('none'),
    scopeClaim: nonBlank.default('scope'),
    scopeFormat: z.enum(['string', 'array']).default('string'),
    clientIdClaims: list(nonBlank, 1).prefault(['client_id', 'azp']),
    rolesClaim: nonBlank.nullable().default(null),
    tenantClaim: nonBlank.nullable().default(null),
    clockToleranceSeconds: between(0, 60).default(30),
    maxTokenLifetimeSeconds: between(60, 604_800).default(86_400),
    /** `null` means discovered from the issuer's metadata. */
    jwksUri: remoteUrl(mode, { query: true }).nullable().default(null),
    introspection: introspectionPolicy(remoteUrl(mode, { query: true })), // optional: introspection
    why,
  })
}

/** Development accepts an issuer on loopback over http; nothing else differs. */
export function authPolicy(mode: Mode) {
  return section({
    baseScope: scopeToken,
    apiKeys: section({
      enabled: z.boolean(),
      maxLifetimeDays: between(1, 730),
      /** A second header that carries keys, lower case; `null` for none. */
      header: keyHeader.nullable(),
    }),
    issuers: z
      .array(issuerPolicy(mode))
      .max(32)
      .refine(
        (all) => new Set(all.map(({ issuer }) => issuer)).size === all.length,
        'has an issuer twice',
      )
      .superRefine(checkDpop) // optional: dpop
      .superRefine(checkIntrospection) // optional: introspection
      .readonly(),
    jwks: section({
      cacheSeconds: between(30, 86_400),
      cooldownSeconds: between(1, 600),
      staleIfErrorSeconds: between(0, 86_400),
      timeoutMs: between(100, 10_000),
    }),
    verificationCacheSeconds: between(0, 60),
  })
}

const accessEntry = section({
  scopes: list(scopeToken),
  /** Also shown in lists to callers who lack its scope, so that a client can ask for it. */
  listed: z.boolean().default(false),
  /** Condition in CEL; `undefined` means none. */
  when: z.string().min(1).max(2000).optional(),
  timeoutSeconds: between(1, 3600).default(60),
  /** `undefined` means no limit besides that of the principal, here and below. */
  concurrentCallsPerPrincipal: between(1, 1000).optional(),
  callsPerMinutePerPrincipal: between(1, 100_000).optional(),
  why,
})

const entries = z.record(z.string().min(1).max(255), accessEntry).readonly()

export const accessPolicy = section({ tools: entries, resources: entries, prompts: entries })

export const limitsPolicy = section({
  body: section({ bytes: between(1024, 16_777_216), depth: between(4, 64) }),
  result: section({ bytes: between(1024, 67_108_864) }),
  headers: section({ count: between(10, 100), bytes: between(2048, 16_384) }),
  timeouts: section({
    headersMs: between(1000, 10_000),
    requestMs: between(1000, 30_000),
    keepAliveMs: between(1000, 60_000),
    slowReaderMs: between(1000, 300_000),
    streamSeconds: between(10, 86_400),
  }).refine(({ headersMs, requestMs }) => headersMs <= requestMs, {
    error: 'must not be longer than requestMs',
    path: ['headersMs'],
  }),
  connections: between(10, 100_000),
  streams: between(1, 100_000),
  address: section({
    connections: between(1, 100_000),
    requestsPerMinute: between(1, 1_000_000),
    authFailuresPerMinute: between(1, 1000),
  }),
  principal: section({
    requestsPerMinute: between(1, 1_000_000),
    concurrentCalls: between(1, 10_000),
    openStreams: between(1, 10_000),
  }),
  tasks: section({ ttlSeconds: between(1, 86_400), perPrincipal: between(1, 100) }),
  onStoreFailure: z.enum(['insurance', 'refuse']),
}).refine(({ streams, connections }) => streams < connections, {
  error: 'must be fewer than connections',
  path: ['streams'],
})

export const auditPolicy = section({
  principal: z.enum(['clear', 'pseudonymous']),
  onSinkFailure: z.enum(['refuse', 'continue']),
  checkpoint: section({ records: between(1, 1_000_000), seconds: between(1, 86_400) }),
})
