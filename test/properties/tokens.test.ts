// optional: oauth (jose)
import fc from 'fast-check'
import { createLocalJWKSet, errors } from 'jose'
import { describe, expect, it } from 'vitest'
import { decodeToken, verifyToken } from '../../src/auth/access-token.ts'
import { CredentialFault } from '../../src/auth/strategy.ts'
import { jwksOf, jws, signingKey } from '../identity/issuer.ts'

const RUNS = Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 20_000) / 4)
const NOW_MS = Date.parse('2026-01-01T00:00:00Z')
const NOW = NOW_MS / 1000

const RULES = {
  issuer: 'https://auth.example.com',
  audiences: ['https://mcp.example.com/mcp'],
  algorithms: ['ES256', 'EdDSA'],
  tokenTypes: ['at+jwt'],
  clockToleranceSeconds: 30,
}

const published = [signingKey('ES256', 'a'), signingKey('EdDSA', 'b'), signingKey('RS256', 'c')]
const local = createLocalJWKSet({ keys: jwksOf(published).keys.map((key) => ({ ...key })) })
const stranger = signingKey('ES256', 'a')

const CLAIMS = {
  iss: RULES.issuer,
  aud: RULES.audiences[0],
  sub: 'user-1',
  client_id: 'client-1',
  iat: NOW - 60,
  exp: NOW + 600,
  jti: 'token-1',
}
const header = (alg: string, kid: string): object => ({ alg, kid, typ: 'at+jwt' })
const [first, second] = published
const good = published.map((key) => jws(key, { ...header(key.alg, key.kid) }, CLAIMS))
const foreign = jws(stranger, { ...header('ES256', 'a') }, CLAIMS)

async function isTaken(token: string): Promise<boolean> {
  try {
    const decoded = decodeToken(token)
    if (decoded.iss !== RULES.issuer) return false
    await verifyToken(token, decoded.header, RULES, { find: (used) => local(used) }, NOW_MS)
    return true
  } catch (error) {
    // Whatever else is thrown would be a 500.
    if (error instanceof CredentialFault || error instanceof errors.JOSEError) return false
    throw error
  }
}

const BASE64URL = [...'ABCDwxyz0189-_', '=', '.', '+', '/', ' ', '\u00e9']

/** A good token with characters changed, or parts of several put together. */
const nearMiss = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(...good),
      fc.array(fc.tuple(fc.nat(600), fc.nat(2), fc.constantFrom(...BASE64URL, '')), {
        minLength: 1,
        maxLength: 3,
      }),
    )
    .map(([token, changes]) =>
      changes.reduce((text, [at, length, piece]) => {
        const index = at % (text.length + 1)
        return text.slice(0, index) + piece + text.slice(index + length)
      }, token),
    ),
  fc
    .tuple(
      fc.constantFrom(...good, foreign),
      fc.constantFrom(...good, foreign),
      fc.constantFrom(...good, foreign),
    )
    .map((tokens) => tokens.map((token, index) => token.split('.')[index]).join('.')),
  fc
    .tuple(fc.json(), fc.json(), fc.base64String())
    .map((parts) => parts.map((part) => Buffer.from(part).toString('base64url')).join('.')),
  fc.string(),
)

describe('threat: a token that is nearly one, it is taken', () => {
  it('takes the tokens that are good', async () => {
    expect(first && second && (await Promise.all(good.map(isTaken)))).toEqual([true, true, false])
    expect(await isTaken(foreign)).toBe(false)
  })

  it('takes no other text, and fails in one of the known ways', async () => {
    const known = new Set(good.slice(0, 2))
    await fc.assert(
      fc.asyncProperty(nearMiss, async (token) => {
        expect(await isTaken(token)).toBe(known.has(token))
      }),
      { numRuns: RUNS },
    )
  }, 600_000)
})
