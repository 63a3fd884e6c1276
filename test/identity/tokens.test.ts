// optional: oauth
import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt, CANARY, eventOf, recordsOf, resultOf } from './attempt.ts'
import {
  base64url,
  JWKS_PATH,
  jwksOf,
  jws,
  METADATA_PATH,
  type Members,
  ofAlgorithm,
} from './issuer.ts'
import { bearer, NOW, startTarget, type Target } from './target.ts'

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target[Symbol.asyncDispose]())

const HEADER = { alg: 'ES256', kid: 'ES256', typ: 'at+jwt' } as const

/** Whatever text as payload, signed by the issuer. */
function signed(payload: string, header: Members = {}): string {
  return jws(target.issuer.key, { ...HEADER, ...header }, payload)
}

/** The payload as text with one more member at its end. */
function withMember(member: string): string {
  return `${JSON.stringify(target.claims()).slice(0, -1)},${member}}`
}

/** Makes the signature with the public key, as if it were a shared secret (RFC 8725 §2.1). */
function confused(alg: string, secret: string | Buffer, kid: string): string {
  const input = `${base64url({ alg, kid, typ: 'at+jwt' })}.${base64url(target.claims())}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

function pem(alg: 'ES256' | 'RS256', type: 'spki' | 'pkcs1' = 'spki'): string {
  const { publicKey } = ofAlgorithm(target.issuer.keys, alg)
  if (type === 'spki') return publicKey.export({ format: 'pem', type }).toString()
  return publicKey.export({ format: 'pem', type: 'pkcs1' }).toString()
}

function unsigned(alg: unknown, signature = ''): string {
  return `${base64url({ alg, kid: 'RS256', typ: 'at+jwt' })}.${base64url(target.claims())}.${signature}`
}

/** Other text in place of one part. */
function replaced(whole: string, index: 0 | 1 | 2, part: string): string {
  return whole
    .split('.')
    .map((old, at) => (at === index ? part : old))
    .join('.')
}

const evil = (path: string): string => `${target.other.url}/evil/${path}`

type Row = readonly [name: string, cause: string, make: () => string]

describe('contract: a good token', () => {
  it.each<[string, () => string]>([
    ['ES256', () => target.token()],
    ['RS256', () => target.token({}, {}, ofAlgorithm(target.issuer.keys, 'RS256'))],
    ['PS256', () => target.token({}, {}, ofAlgorithm(target.issuer.keys, 'PS256'))],
    ['EdDSA', () => target.token({}, {}, ofAlgorithm(target.issuer.keys, 'EdDSA'))],
    [
      'the audience in a list',
      () => target.token({ aud: ['https://a.example', target.server.url] }),
    ],
    ['application/at+jwt', () => target.token({}, { typ: 'application/at+jwt' })],
    ['no kid', () => target.token({}, { kid: undefined })],
    ['a jku that has no effect', () => target.token({}, { jku: evil('jwks') })],
    ['a subject of 255 characters', () => target.token({ sub: 'user-1'.padEnd(255, '.') })],
    ['nbf a moment ago', () => target.token({ nbf: NOW - 1 })],
    ['the longest lifetime', () => target.token({ iat: NOW, exp: NOW + 86_400 })],
  ])('is let through: %s', async (_name, make) => {
    const answer = await attempt(target.server, bearer(make()))
    const caller = resultOf(answer)
    expect(caller).toMatchObject({ kind: 'oauth', issuer: target.issuer.url, client: 'client-1' })
    expect(caller.subject).toMatch(/^user-1/)
    const events = (await recordsOf(target.server, answer)).map(eventOf)
    expect(events).toEqual(['decision', 'outcome', 'request'])
  })

  it('of another configured issuer is another principal', async () => {
    const foreign = target.token({ iss: target.other.url }, {}, target.other.key)
    const answer = await attempt(target.server, bearer(foreign))
    expect(resultOf(answer)).toMatchObject({ issuer: target.other.url, subject: 'user-1' })
  })
})

describe('threat: a forged signature, an outsider becomes anybody', () => {
  it.each<Row>([
    ['alg none', 'shape', () => unsigned('none')],
    ['alg none with a signature', 'algorithm', () => unsigned('none', 'AAAA')],
    ['alg None', 'algorithm', () => unsigned('None', 'AAAA')],
    ['alg NONE', 'algorithm', () => unsigned('NONE', 'AAAA')],
    ['alg nOnE', 'algorithm', () => unsigned('nOnE', 'AAAA')],
    ['alg none with a space', 'algorithm', () => unsigned('none ', 'AAAA')],
    ['alg none with a null byte', 'algorithm', () => unsigned('none\0', 'AAAA')],
    ['an empty alg', 'algorithm', () => unsigned('', 'AAAA')],
    ['no alg', 'algorithm', () => unsigned(undefined, 'AAAA')],
    ['alg null', 'algorithm', () => unsigned(null, 'AAAA')],
    ['alg as a list', 'algorithm', () => unsigned(['RS256'], 'AAAA')],
    ['alg __proto__', 'algorithm', () => unsigned('__proto__', 'AAAA')],
    ['alg rs256', 'algorithm', () => unsigned('rs256', 'AAAA')],
    ['alg RS1', 'algorithm', () => unsigned('RS1', 'AAAA')],
    ['no signature', 'shape', () => unsigned('RS256')],
    ['HS256 with the RSA key as PEM', 'algorithm', () => confused('HS256', pem('RS256'), 'RS256')],
    [
      'HS256 with the RSA key as PKCS #1',
      'algorithm',
      () => confused('HS256', pem('RS256', 'pkcs1'), 'RS256'),
    ],
    [
      'HS256 with the RSA key without its last line break',
      'algorithm',
      () => confused('HS256', pem('RS256').trimEnd(), 'RS256'),
    ],
    ['HS256 with the EC key as PEM', 'algorithm', () => confused('HS256', pem('ES256'), 'ES256')],
    [
      'HS256 with the JWK as text',
      'algorithm',
      () => confused('HS256', JSON.stringify(jwksOf(target.issuer.keys).keys[0]), 'ES256'),
    ],
    ['HS256 with an empty secret', 'algorithm', () => confused('HS256', '', 'RS256')],
    ['RS256 made by HMAC', 'signature', () => confused('RS256', pem('RS256'), 'RS256')],
    ['ES256 made by HMAC', 'signature', () => confused('ES256', pem('ES256'), 'ES256')],
    [
      'ES256 by the kid of an RSA key',
      'unknown',
      () => target.token({}, { kid: 'RS256' }, target.issuer.key),
    ],
    [
      'PS256 by the kid of an RS256 key',
      'unknown',
      () =>
        target.token({}, { alg: 'PS256', kid: 'RS256' }, ofAlgorithm(target.issuer.keys, 'RS256')),
    ],
    [
      'RS256 with the key of PS256',
      'unknown',
      () =>
        target.token({}, { alg: 'RS256', kid: 'PS256' }, ofAlgorithm(target.issuer.keys, 'PS256')),
    ],
    ['a key of one’s own', 'signature', () => target.token({}, {}, target.stranger)],
    [
      'a key of one’s own without kid',
      'signature',
      () => target.token({}, { kid: undefined }, target.stranger),
    ],
    [
      'the key of another configured issuer',
      'signature',
      () => target.token({}, {}, target.other.key),
    ],
    [
      'the name of another configured issuer',
      'signature',
      () => target.token({ iss: target.other.url }, {}, target.issuer.key),
    ],
    [
      'a key brought along in jwk',
      'signature',
      () =>
        target.token(
          {},
          { jwk: target.stranger.publicKey.export({ format: 'jwk' }) },
          target.stranger,
        ),
    ],
    [
      'a key brought along in x5c',
      'signature',
      () => target.token({}, { x5c: ['MIIB'] }, target.stranger),
    ],
    ['jku', 'signature', () => target.token({}, { jku: evil('jwks') }, target.stranger)],
    [
      'jku with an unknown kid',
      'unknown',
      () => target.token({}, { jku: evil('jwks'), kid: 'e' }, target.stranger),
    ],
    [
      'jku and no kid',
      'signature',
      () => target.token({}, { jku: evil('jwks'), kid: undefined }, target.stranger),
    ],
    ['x5u', 'signature', () => target.token({}, { x5u: evil('cert') }, target.stranger)],
    [
      'x5u with an unknown kid',
      'unknown',
      () => target.token({}, { x5u: evil('cert'), kid: 'e' }, target.stranger),
    ],
    ['x5t#S256', 'signature', () => target.token({}, { 'x5t#S256': 'AAAA' }, target.stranger)],
    [
      'an address as iss',
      'issuer',
      () => target.token({ iss: evil('issuer') }, {}, target.stranger),
    ],
    [
      'a kid that is a path',
      'unknown',
      () => target.token({}, { kid: '../../../dev/null' }, target.stranger),
    ],
    [
      'a kid that is an address',
      'unknown',
      () => target.token({}, { kid: evil('kid') }, target.stranger),
    ],
    ['kid __proto__', 'unknown', () => target.token({}, { kid: '__proto__' }, target.stranger)],
    ['kid constructor', 'unknown', () => target.token({}, { kid: 'constructor' }, target.stranger)],
    ['an empty kid', 'unknown', () => target.token({}, { kid: '' }, target.stranger)],
    [
      'a kid with SQL',
      'unknown',
      () => target.token({}, { kid: "x' UNION SELECT 'key" }, target.stranger),
    ],
    [
      'a kid with a shell command',
      'unknown',
      () => target.token({}, { kid: '|sleep 9' }, target.stranger),
    ],
    [
      'a kid with a line break',
      'unknown',
      () => target.token({}, { kid: `a\r\n${CANARY}` }, target.stranger),
    ],
    [
      'a kid of 5,000 characters',
      'unknown',
      () => target.token({}, { kid: 'k'.repeat(5000) }, target.stranger),
    ],
    ['a kid that is a number', 'shape', () => target.token({}, { kid: 1 })],
    ['a kid that is a list', 'shape', () => target.token({}, { kid: ['ES256'] })],
    ['crit', 'shape', () => target.token({}, { crit: ['exp'], exp: 1 })],
    ['an empty crit', 'shape', () => target.token({}, { crit: [] })],
    ['b64', 'shape', () => target.token({}, { crit: ['b64'], b64: false })],
    ['b64 that nothing calls critical', 'shape', () => target.token({}, { b64: false })],
    [
      'a signature of zeros (CVE-2022-21449)',
      'signature',
      () => replaced(target.token(), 2, Buffer.alloc(64).toString('base64url')),
    ],
    [
      'an ECDSA signature in DER',
      'signature',
      () => replaced(target.token(), 2, Buffer.alloc(70, 0x30).toString('base64url')),
    ],
    [
      'the signature of another token',
      'signature',
      () => replaced(target.token(), 2, target.token({ sub: 'b' }).split('.')[2] ?? ''),
    ],
    [
      'another subject',
      'signature',
      () => replaced(target.token(), 1, base64url(target.claims({ sub: 'admin' }))),
    ],
    [
      'more scopes',
      'signature',
      () =>
        replaced(target.token(), 1, base64url(target.claims({ scope: 'mcp:use reports:delete' }))),
    ],
    [
      'another header',
      'signature',
      () => replaced(target.token(), 0, base64url({ ...HEADER, x: 1 })),
    ],
  ])('refuses %s', async (_name, cause, make) => {
    await target.refuses(cause, make())
  })
})

/** The same bytes in other characters: the last one carries bits that decoding drops. */
function respelled(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const other = `${token.slice(0, -1)}${alphabet[alphabet.indexOf(token.slice(-1)) + 1]}`
  const bytesOf = (text: string): Buffer => Buffer.from(text.split('.')[2] ?? '', 'base64url')
  expect(bytesOf(other)).toEqual(bytesOf(token))
  return other
}

describe('threat: what is no signed token, the parser is the target', () => {
  it.each<Row>([
    ['one letter', 'shape', () => 'a'],
    ['dots', 'shape', () => '..'],
    ['two parts', 'shape', () => target.token().split('.').slice(0, 2).join('.')],
    ['half of a token', 'signature', () => target.token().slice(0, -42)],
    ['a token without its beginning', 'shape', () => target.token().slice(40)],
    ['an extra dot', 'shape', () => `${target.token()}.`],
    ['a dot in front', 'shape', () => `.${target.token()}`],
    ['a fourth part', 'shape', () => `${target.token()}.${base64url({ admin: true })}`],
    [
      'an encrypted token',
      'shape',
      () => `${base64url({ alg: 'dir', enc: 'A128GCM' })}..AAAA.AAAA.AAAA`,
    ],
    [
      'alg dir',
      'algorithm',
      () => replaced(target.token(), 0, base64url({ alg: 'dir', enc: 'A128GCM' })),
    ],
    ['a signed token as payload', 'shape', () => signed(target.token(), { cty: 'JWT' })],
    [
      'a compressed payload',
      'shape',
      () => replaced(target.token(), 1, 'eJyrVspMUbJSMjQyNjE1M7dQqgUAKoQEUA'),
    ],
    ['a signature with padding', 'shape', () => `${target.token()}==`],
    ['another spelling of the signature', 'shape', () => respelled(target.token())],
    [
      'a byte order mark before the claims',
      'shape',
      () => signed(`\ufeff${JSON.stringify(target.claims())}`),
    ],
    ['base64 that is not base64url', 'shape', () => replaced(target.token(), 1, 'a+/b')],
    ['an empty payload', 'shape', () => replaced(target.token(), 1, '')],
    ['a payload that is a list', 'shape', () => signed('[]')],
    ['a payload that is null', 'shape', () => signed('null')],
    [
      'a header that is a string',
      'shape',
      () => jws(target.issuer.key, '"ES256"', target.claims()),
    ],
    ['a header that is not JSON', 'shape', () => replaced(target.token(), 0, 'AAAA')],
    ['a header of 9 KiB', 'shape', () => target.token({}, { x: 'x'.repeat(9216) })],
    ['4,000 dots', 'shape', () => '.'.repeat(4000)],
    [
      'nesting in the payload',
      'shape',
      () => signed(withMember(`"x":${'['.repeat(1000)}${']'.repeat(1000)}`)),
    ],
    ['a second sub', 'shape', () => signed(withMember('"sub":"admin"'))],
    [
      'a second aud, escaped',
      'shape',
      () => signed(withMember(`"\\u0061ud":"${target.server.url}"`)),
    ],
    [
      'a second alg',
      'shape',
      () =>
        jws(
          target.issuer.key,
          '{"alg":"none","alg":"ES256","kid":"ES256","typ":"at+jwt"}',
          target.claims(),
        ),
    ],
    ['a claim __proto__', 'shape', () => signed(withMember('"__proto__":{"scope":"mcp:use"}'))],
    [
      'bytes that are not UTF-8',
      'shape',
      () =>
        replaced(
          target.token(),
          1,
          Buffer.from(JSON.stringify(target.claims({ sub: 'user-\u00ff' })), 'latin1').toString(
            'base64url',
          ),
        ),
    ],
  ])('refuses %s', async (_name, cause, make) => {
    await target.refuses(cause, make())
  })
})

describe('threat: a token that sends the server out, requests are forged in its name', () => {
  it('has asked each issuer for its keys at the two known places, and nobody for anything else', async () => {
    const places = [METADATA_PATH, JWKS_PATH]
    for (const { requests, fetches } of [target.issuer, target.other]) {
      expect(requests.map(({ url }) => url).filter((url) => !places.includes(url ?? ''))).toEqual(
        [],
      )
      expect(fetches()).toBeGreaterThan(0)
    }
    const answer = await attempt(target.server, bearer(target.token()))
    expect(resultOf(answer)).toMatchObject({ subject: 'user-1', scopes: ['mcp:use'] })
  })
})
