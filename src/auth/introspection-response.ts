// optional: introspection
import { z } from 'zod'
import { FOREIGN_CLAIMS } from './access-token.ts'
import type { Fault } from './strategy.ts'

/** What an introspection endpoint says: any object that has an answer to the one question. */
export const introspectionResponse = z.looseObject({ active: z.unknown() })

export type IntrospectionResponse = Readonly<z.output<typeof introspectionResponse>>

export type Claims = Readonly<Record<string, unknown>>

/** What members that name the kind of a token say of access tokens, lower case. */
const OF_ACCESS_TOKENS: ReadonlyMap<string, ReadonlySet<unknown>> = new Map([
  ['token_type', new Set(['bearer'])],
  ['token_use', new Set(['access', 'access_token'])],
  ['typ', new Set(['bearer', 'at+jwt', 'application/at+jwt'])],
])

/** What the token has to be, besides active. */
export interface ResponseRules {
  readonly issuer: string
  readonly audiences: readonly string[]
}

/**
 * The claims of a token that its issuer calls active, or why it is not one for this server. Times and
 * what `identityOf` checks are not looked at: they are checked on every request.
 *
 * `active` is `true` and nothing that only looks like it. A token that does not say for whom it is,
 * is not for this server: issuers may leave `aud` out, and then know nothing of resources (RFC 8707).
 * Refresh and ID tokens can be active, too: what is told of another kind is refused. What repeats the
 * token itself is dropped, because claims are kept and `jti` is put on record.
 *
 * Source: RFC 7662 §2.2 and §4; RFC 6749 §5.1 (`token_type`)
 */
export function claimsOf(
  response: IntrospectionResponse,
  token: string,
  { issuer, audiences }: ResponseRules,
): Claims | Fault {
  if (response.active !== true) return 'inactive'
  const { iss = issuer, aud } = response
  if (iss !== issuer) return 'issuer'
  const meant: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!audiences.some((audience) => meant.includes(audience))) return 'audience'
  if (FOREIGN_CLAIMS.some((claim) => claim in response)) return 'type'
  for (const [member, values] of OF_ACCESS_TOKENS) {
    const value = response[member]
    if (value === undefined) continue
    if (typeof value !== 'string' || !values.has(value.toLowerCase())) return 'type'
  }
  const claims = Object.entries(response).filter(([, value]) => value !== token)
  return Object.freeze({ ...Object.fromEntries(claims), iss })
}
