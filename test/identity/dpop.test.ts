// optional: dpop
import { createHmac, randomBytes } from 'node:crypto'
import {
  Client,
  DpopSession,
  extractWWWAuthenticateParams,
  StreamableHTTPClientTransport,
  withDpop,
} from '@modelcontextprotocol/client'
import { calculateJwkThumbprint, exportJWK } from 'jose'
import {
  allowInsecureRequests,
  DPoP,
  generateKeyPair,
  isDPoPNonceError,
  protectedResourceRequest,
} from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dpopNonces } from '../../src/auth/dpop-nonce.ts'
import { secretRing } from '../../src/secrets.ts'
import type { RawAnswer } from '../raw-http.ts'
import { callOf, type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import {
  attempt,
  BEHIND_PROXY,
  CANARY,
  eventOf,
  expectRefused,
  NO_LIMITS,
  recordsOf,
  resultOf,
} from './attempt.ts'
import { base64url, type Issuer, jws, type Members, signingKey, startIssuer } from './issuer.ts'
import { athOf, type ProofOptions, proofOf, publicJwk, thumbprint, withPart } from './proof.ts'

const ALGS = 'algs="ES256 EdDSA Ed25519 PS256 RS256"'
const OFFER = `, DPoP ${ALGS}`
const SLOT_MS = 150_000
const now = (): number => Math.floor(Date.now() / 1000)

const root = randomBytes(32)
const nonces = dpopNonces(secretRing([root]))
const client = signingKey('ES256', 'client')
const thief = signingKey('ES256', 'thief')
const rsa = signingKey('PS256', 'rsa')

let issuer: Issuer
let plain: Issuer
let server: Server

beforeAll(async () => {
  ;[issuer, plain] = await Promise.all([startIssuer(), startIssuer()])
  server = await startServer({
    env: { ...BEHIND_PROXY, MCP_SECRET: root.toString('base64') },
    policies: [...NO_LIMITS, issuersOf([issuer, 'dpop'], [plain, 'none'])],
  })
})
afterAll(async () => {
  await stopServers()
  await Promise.all([issuer.down(), plain.down()])
})

function issuersOf(...issuers: readonly (readonly [Issuer, string])[]): PolicyEdit {
  const entries = issuers.map(([{ url }, senderConstraint]) => ({
    issuer: url,
    senderConstraint,
    why: 'of the test',
  }))
  return ['auth.yaml', 'issuers: []', `issuers: ${JSON.stringify(entries)}`]
}

function tokenOf(changes: Members = {}, by = issuer): string {
  const header = { typ: 'at+jwt', alg: by.key.alg, kid: by.key.kid }
  return jws(by.key, header, {
    iss: by.url,
    aud: server.url,
    sub: 'user-1',
    client_id: 'client-1',
    scope: 'mcp:use',
    iat: now() - 60,
    exp: now() + 600,
    jti: 'token-1',
    cnf: { jkt: thumbprint(client) },
    ...changes,
  })
}

/** A good proof but for these parts. */
function proofFor(token: string, parts: Partial<ProofOptions> = {}): string {
  const nonce = nonces.newest(Date.now())
  return proofOf({ key: client, url: server.url, token, nonce, ...parts })
}

const claims = (changes: Members) => (token: string) => proofFor(token, { claims: changes })
const header = (changes: Members) => (token: string) => proofFor(token, { header: changes })

function send(token: string, ...proofs: readonly string[]): Promise<RawAnswer> {
  const lines = [`Authorization: DPoP ${token}`, ...proofs.map((proof) => `DPoP: ${proof}`)]
  return attempt(server, { lines })
}

/** The one answer to every bad credential, with this cause on record. */
async function expectRejected(answer: RawAnswer, cause: string, ...sent: string[]): Promise<void> {
  const secrets = sent.flatMap((text) => text.split(/[^\w-]+/)).filter((part) => part.length > 15)
  const reason = 'authenticate.rejected'
  await expectRefused(server, answer, { status: 401, reason, cause, offer: OFFER, secrets })
}

async function expectServed(answer: RawAnswer): Promise<void> {
  expect(resultOf(answer)).toMatchObject({ issuer: issuer.url, subject: 'user-1' })
}

/** Shared secrets of an attacker who knows the public key alone. */
function hmacProof(token: string, secret: string | Buffer, jwk: Members): string {
  const [, payload] = proofFor(token).split('.')
  const input = `${base64url({ typ: 'dpop+jwt', alg: 'HS256', jwk })}.${payload}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

/** The payload of a good proof with this text in front, which parsers overrule by what follows. */
function payloadWith(token: string, text: string): string {
  const [, payload = ''] = proofFor(token).split('.')
  return `{${text},${Buffer.from(payload, 'base64url').toString().slice(1)}`
}

describe('contract: a token with the proof of its key', () => {
  it('is served, and its answer has the nonce for the next proof', async () => {
    const token = tokenOf()
    const answer = await send(token, proofFor(token))
    await expectServed(answer)
    const slots = [Date.now() - 5000, Date.now()].map((ms) => nonces.newest(ms))
    expect(slots).toContain(answer.headers.get('dpop-nonce'))
    const events = (await recordsOf(server, answer)).map(eventOf)
    expect(events).toEqual(['decision', 'outcome', 'request'])
  })

  it.each([
    ['the scheme in lower case', 'dpop'],
    ['the scheme in upper case', 'DPOP'],
  ])('is served with %s', async (_name, scheme) => {
    const token = tokenOf()
    const lines = [`Authorization: ${scheme} ${token}`, `dpop: ${proofFor(token)}`]
    await expectServed(await attempt(server, { lines }))
  })

  it('is served with the nonce before the newest', async () => {
    const token = tokenOf()
    const nonce = nonces.newest(Date.now() - SLOT_MS + 5000)
    await expectServed(await send(token, proofFor(token, { nonce })))
  })

  it('has the nonce on an answer that refuses the call', async () => {
    const token = tokenOf({ scope: 'mcp:use' })
    const answer = await attempt(server, {
      lines: [`Authorization: DPoP ${token}`, `DPoP: ${proofFor(token)}`],
      body: callOf('process_documents', { documents: [{ name: 'a', text: 'b' }] }),
    })
    expect(answer.status).toBe(403)
    expect(answer.headers.get('dpop-nonce')).toMatch(/^[\w-]{43}$/)
    expect(answer.headers.get('www-authenticate')).toMatch(
      /^DPoP error="insufficient_scope", scope="mcp:use documents:process", resource_metadata="[^"]+", algs="ES256 [^"]+"$/,
    )
  })

  it('is not asked of another issuer, nor of a key', async () => {
    const token = tokenOf({ cnf: undefined }, plain)
    for (const lines of [
      [`Authorization: Bearer ${token}`],
      [`Authorization: Bearer ${token}`, 'DPoP: not a proof'],
      [`Authorization: Bearer ${server.key}`, `DPoP: ${proofFor(token)}`],
    ]) {
      const answer = await attempt(server, { lines })
      expect(answer.status).toBe(200)
      expect(answer.headers.has('dpop-nonce')).toBe(false)
    }
  })
})

describe('threat: a stolen token, the thief is not asked for the key of its owner', () => {
  it.each<[string, string, (token: string) => readonly string[]]>([
    ['as Bearer', 'sender-constrained', (t) => [`Authorization: Bearer ${t}`]],
    [
      'as Bearer with a recorded proof',
      'sender-constrained',
      (t) => [`Authorization: Bearer ${t}`, `DPoP: ${proofFor(t)}`],
    ],
    ['without a proof', 'proof', (t) => [`Authorization: DPoP ${t}`]],
    ['with an empty proof', 'proof', (t) => [`Authorization: DPoP ${t}`, 'DPoP:']],
    ['with a word', 'proof', (t) => [`Authorization: DPoP ${t}`, 'DPoP: true']],
    ['with itself as the proof', 'proof', (t) => [`Authorization: DPoP ${t}`, `DPoP: ${t}`]],
    [
      'with the proof under another name',
      'proof',
      (t) => [`Authorization: DPoP ${t}`, `X-DPoP: ${proofFor(t)}`, `Proof: ${proofFor(t)}`],
    ],
    [
      'with two proofs in one header',
      'proof',
      (t) => [`Authorization: DPoP ${t}`, `DPoP: ${proofFor(t)}, ${proofFor(t)}`],
    ],
  ])('refuses it %s', async (_name, cause, linesOf) => {
    const token = tokenOf({ more: CANARY })
    await expectRejected(await attempt(server, { lines: linesOf(token) }), cause, token)
    await expectServed(await send(token, proofFor(token)))
  })

  it('refuses two proofs in two headers as any doubled header', async () => {
    const token = tokenOf()
    const answer = await send(token, proofFor(token), proofFor(token))
    const reason = 'wire-guard.duplicate-header'
    await expectRefused(server, answer, { status: 400, reason })
  })

  it('refuses a proof in place of a token', async () => {
    const proof = proofFor(tokenOf())
    for (const scheme of ['Bearer', 'DPoP']) {
      const lines = [`Authorization: ${scheme} ${proof}`, `DPoP: ${proof}`]
      await expectRejected(await attempt(server, { lines }), 'issuer', proof)
    }
  })
})

describe('threat: a proof that is not one, a thief makes it without the key', () => {
  it.each<[string, (token: string) => string]>([
    // Another key
    ['of the thief’s own key', (t) => proofFor(t, { key: thief })],
    [
      'of the thief’s own key under the name of the right one',
      (t) => proofFor(t, { key: thief, header: { kid: thumbprint(client) } }),
    ],
    [
      'that carries the right key, signed by another one',
      (t) => proofFor(t, { key: thief, header: { jwk: publicJwk(client) } }),
    ],
    [
      'with a key address',
      (t) => proofFor(t, { key: thief, header: { jku: `${issuer.url}/jwks`, x5u: issuer.url } }),
    ],
    [
      'with both keys',
      (t) => proofFor(t, { key: thief, header: { jwk: [publicJwk(client), publicJwk(thief)] } }),
    ],
    ['of another algorithm’s key', (t) => proofFor(t, { key: rsa })],
    ['without a key', header({ jwk: undefined })],
    ['with null for a key', header({ jwk: null })],
    ['with the thumbprint for a key', (t) => proofFor(t, { header: { jwk: thumbprint(client) } })],
    ['with an empty key', header({ jwk: {} })],
    ['with a key without its type', header({ jwk: { ...publicJwk(client), kty: undefined } })],
    ['with a key on another curve', header({ jwk: { ...publicJwk(client), crv: 'P-384' } })],
    ['with a private key', header({ jwk: client.privateKey.export({ format: 'jwk' }) })],
    ['with a shared secret', header({ jwk: { kty: 'oct', k: 'AAAA' } })],
    // Algorithm
    ['with alg none', header({ alg: 'none' })],
    [
      'with alg none and no signature',
      (t) =>
        `${proofFor(t, { header: { alg: 'none' } })
          .split('.', 2)
          .join('.')}.`,
    ],
    ['without alg', header({ alg: undefined })],
    ['with a list of algorithms', header({ alg: ['ES256'] })],
    ['with alg in lower case', header({ alg: 'es256' })],
    ['with an algorithm that is not offered', header({ alg: 'ES384' })],
    ['with an algorithm that is not its key’s', header({ alg: 'RS256' })],
    [
      'by HMAC with the public key as the secret',
      (t) => hmacProof(t, JSON.stringify(publicJwk(client)), publicJwk(client)),
    ],
    [
      'by HMAC with a secret of its own',
      (t) => hmacProof(t, Buffer.alloc(3), { kty: 'oct', k: 'AAAA' }),
    ],
    // Type
    ['of type JWT', header({ typ: 'JWT' })],
    ['of the type of tokens', header({ typ: 'at+jwt' })],
    ['without a type', header({ typ: undefined })],
    ['with a list of types', header({ typ: ['dpop+jwt'] })],
    // Request
    ['for GET', claims({ htm: 'GET' })],
    ['for post', claims({ htm: 'post' })],
    ['for no method', claims({ htm: undefined })],
    ['for a list of methods', claims({ htm: ['POST'] })],
    ['for another path', (t) => proofFor(t, { url: server.url.replace(/mcp$/, 'other') })],
    ['for a path below', (t) => proofFor(t, { url: `${server.url}/tools` })],
    ['for a path above', (t) => proofFor(t, { url: new URL('/', server.url).href })],
    ['for the path with a slash', (t) => proofFor(t, { url: `${server.url}/` })],
    ['for the path in upper case', (t) => proofFor(t, { url: server.url.replace(/mcp$/, 'MCP') })],
    ['for an escaped path', (t) => proofFor(t, { url: server.url.replace(/mcp$/, 'm%63p') })],
    ['for another host', claims({ htu: 'https://mcp.example.com/mcp' })],
    [
      'for another name of the host',
      (t) => proofFor(t, { url: server.url.replace('127.0.0.1', 'localhost') }),
    ],
    [
      'for a host that ends alike',
      (t) => proofFor(t, { url: server.url.replace('//', '//evil.') }),
    ],
    ['for another port', (t) => proofFor(t, { url: server.url.replace(/:\d+/, ':1') })],
    ['for https', (t) => proofFor(t, { url: server.url.replace('http:', 'https:') })],
    ['for a user at the host', (t) => proofFor(t, { url: server.url.replace('//', '//a@') })],
    ['for a query', (t) => proofFor(t, { url: `${server.url}?a=b` })],
    ['for an empty query', (t) => proofFor(t, { url: `${server.url}?` })],
    ['for a fragment', (t) => proofFor(t, { url: `${server.url}#a` })],
    ['for the path alone', claims({ htu: '/mcp' })],
    ['for no URL', claims({ htu: undefined })],
    ['for an empty URL', claims({ htu: '' })],
    ['for a number', claims({ htu: 1 })],
    ['for a list of URLs', (t) => proofFor(t, { claims: { htu: [server.url] } })],
    // Token
    ['for another token', claims({ ath: athOf('another') })],
    [
      'for a token that begins alike',
      (t) => proofFor(t, { claims: { ath: athOf(t.slice(0, -1)) } }),
    ],
    ['for no token', claims({ ath: undefined })],
    ['for an empty digest', claims({ ath: '' })],
    ['for a padded digest', (t) => proofFor(t, { claims: { ath: `${athOf(t)}=` } })],
    [
      'for a digest in base64',
      (t) =>
        proofFor(t, { claims: { ath: Buffer.from(athOf(t), 'base64url').toString('base64') } }),
    ],
    [
      'for a digest in hex',
      (t) => proofFor(t, { claims: { ath: Buffer.from(athOf(t), 'base64url').toString('hex') } }),
    ],
    // Time
    ['a minute and a half old', (t) => proofFor(t, { claims: { iat: now() - 90 } })],
    ['from the future', (t) => proofFor(t, { claims: { iat: now() + 90 } })],
    ['without a time', claims({ iat: undefined })],
    ['with a time in quotes', (t) => proofFor(t, { claims: { iat: `${now()}` } })],
    ['with milliseconds for seconds', (t) => proofFor(t, { claims: { iat: Date.now() } })],
    ['with a time of null', claims({ iat: null })],
    ['that has ended', (t) => proofFor(t, { claims: { exp: now() - 60 } })],
    ['that is not valid yet', (t) => proofFor(t, { claims: { nbf: now() + 60 } })],
    // Name
    ['without a name', claims({ jti: undefined })],
    ['with an empty name', claims({ jti: '' })],
    ['with a number for a name', claims({ jti: 1 })],
    ['with a list of names', claims({ jti: ['a'] })],
    ['with a name of 257 characters', claims({ jti: 'x'.repeat(257) })],
    // Form
    ['with a critical header', header({ crit: ['exp'], exp: 1 })],
    ['with an unencoded payload', header({ crit: ['b64'], b64: false })],
    ['with b64 that nothing calls critical', header({ b64: false })],
    ['with a method twice', (t) => proofFor(t, { claims: payloadWith(t, '"htm":"GET"') })],
    ['with a digest twice', (t) => proofFor(t, { claims: payloadWith(t, '"ath":"x"') })],
    [
      'with a key twice',
      (t) =>
        proofFor(t, {
          header: `{"typ":"dpop+jwt","alg":"ES256","jwk":${JSON.stringify(publicJwk(thief))},"jwk":${JSON.stringify(publicJwk(client))}}`,
        }),
    ],
    ['with __proto__', (t) => proofFor(t, { claims: payloadWith(t, '"__proto__":{"jti":"a"}') })],
    ['that is a list', (t) => proofFor(t, { claims: '[]' })],
    ['that is null', (t) => proofFor(t, { claims: 'null' })],
    ['that is not JSON', (t) => proofFor(t, { claims: '{' })],
    ['over 4 KiB', claims({ more: 'x'.repeat(4096) })],
    [
      'nested a thousand times',
      claims({ more: JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) }),
    ],
    ['with a dot more', (t) => `${proofFor(t)}.`],
    ['of five parts', (t) => `${proofFor(t)}.a.b`],
    ['of two parts', (t) => proofFor(t).split('.', 2).join('.')],
    ['with padding', (t) => `${proofFor(t)}=`],
    ['in quotes', (t) => `"${proofFor(t)}"`],
    ['after its scheme', (t) => `DPoP ${proofFor(t)}`],
    // Signature
    ['with a signature of zeros', (t) => withPart(proofFor(t), 2, 'A'.repeat(86))],
    ['with a shorter signature', (t) => proofFor(t).slice(0, -4)],
    [
      'with the signature of another one',
      (t) => withPart(proofFor(t), 2, proofFor(t).split('.')[2] ?? ''),
    ],
    [
      'with a changed payload',
      (t) =>
        withPart(proofFor(t), 1, {
          jti: 'other',
          htm: 'POST',
          htu: server.url,
          iat: now(),
          ath: athOf(t),
          nonce: nonces.newest(Date.now()),
        }),
    ],
    [
      'with a changed header',
      (t) =>
        withPart(proofFor(t), 0, {
          typ: 'dpop+jwt',
          alg: 'ES256',
          jwk: publicJwk(client),
          more: 1,
        }),
    ],
  ])('refuses a proof %s', async (_name, make) => {
    const token = tokenOf()
    const proof = make(token)
    await expectRejected(await send(token, proof), 'proof', token, proof)
  })

  it('refuses a proof that was used, signed anew or for another token as well', async () => {
    const token = tokenOf()
    const proof = proofFor(token, { claims: { jti: 'used' } })
    await expectServed(await send(token, proof))
    await expectRejected(await send(token, proof), 'replay', token, proof)
    const again = proofFor(token, { claims: { jti: 'used' } })
    await expectRejected(await send(token, again), 'replay', token, again)
    const other = tokenOf({ jti: 'token-2' })
    const forOther = proofFor(other, { claims: { jti: 'used' } })
    await expectRejected(await send(other, forOther), 'replay', other, forOther)
  })
})

describe('threat: a token that is bound to nothing, or to something else', () => {
  const jkt = thumbprint(client)

  it.each<[string, unknown]>([
    ['no binding', undefined],
    ['a binding of null', null],
    ['an empty binding', {}],
    ['a list', [{ jkt }]],
    ['the thumbprint alone', jkt],
    ['true', true],
    ['a certificate', { 'x5t#S256': jkt }],
    ['a key and a certificate', { jkt, 'x5t#S256': jkt }],
    ['a key and something unknown', { jkt, kid: 'a' }],
    ['a whole key', { jwk: publicJwk(client) }],
    ['a name of a key', { kid: 'client' }],
    ['JKT', { JKT: jkt }],
    ['a list of thumbprints', { jkt: [jkt] }],
    ['null for a thumbprint', { jkt: null }],
    ['an empty thumbprint', { jkt: '' }],
    ['a shorter thumbprint', { jkt: jkt.slice(0, -1) }],
    ['a longer thumbprint', { jkt: `${jkt}A` }],
    ['a padded thumbprint', { jkt: `${jkt}=` }],
    ['the same bits in another last letter', { jkt: `${jkt.slice(0, -1)}${otherLast(jkt)}` }],
    ['a thumbprint in hex', { jkt: Buffer.from(jkt, 'base64url').toString('hex') }],
  ])('refuses a token with %s', async (_name, cnf) => {
    const token = tokenOf({ cnf })
    const proof = proofFor(token)
    await expectRejected(await send(token, proof), 'sender-constrained', token, proof)
  })

  it.each<[string, string, Members]>([
    ['another key', 'proof', { cnf: { jkt: thumbprint(thief) } }],
    ['no name', 'claims', { jti: undefined }],
    ['no client', 'claims', { client_id: undefined }],
    ['its end in the past', 'expired', { iat: now() - 600, exp: now() - 60 }],
    ['another audience', 'audience', { aud: 'https://other.example/mcp' }],
  ])('refuses a token with %s, however good its proof', async (_name, cause, changes) => {
    const token = tokenOf(changes)
    const proof = proofFor(token)
    await expectRejected(await send(token, proof), cause, token, proof)
  })

  it('refuses what binds nothing with the scheme DPoP', async () => {
    const token = tokenOf({ cnf: undefined }, plain)
    await expectRejected(await send(token, proofFor(token)), 'sender-constrained', token)
    const bound = tokenOf({}, plain)
    await expectRejected(await send(bound, proofFor(bound)), 'sender-constrained', bound)
    await expectRejected(await send(server.key, proofFor(server.key)), 'shape')
    const answer = await attempt(server, { lines: [`Authorization: Bearer ${token}`] })
    expect(resultOf(answer)).toMatchObject({ issuer: plain.url })
  })
})

describe('threat: a proof made in advance, it is used when its maker is gone', () => {
  it.each<[string, () => unknown, failed?: false]>([
    ['no nonce', () => undefined, false],
    ['an old nonce', () => nonces.newest(Date.now() - 2 * SLOT_MS)],
    ['a nonce to come', () => nonces.newest(Date.now() + SLOT_MS + 5000)],
    [
      'a nonce of another server',
      () => dpopNonces(secretRing([randomBytes(32)])).newest(Date.now()),
    ],
    ['a nonce of its own', () => CANARY],
    ['a list of nonces', () => [nonces.newest(Date.now())]],
  ])('asks for a proof with its own nonce in place of one with %s', async (...row) => {
    const [, nonceOf, failed] = row
    const token = tokenOf()
    const proof = proofFor(token, { claims: { nonce: nonceOf() } })
    const answer = await send(token, proof)
    const metadata = `http://127.0.0.1:${server.port}/.well-known/oauth-protected-resource/mcp`
    expect(answer.status).toBe(401)
    expect(answer.body).toBe('{"jsonrpc":"2.0","error":{"code":-32600,"message":"Unauthorized"}}')
    expect(answer.headers.get('www-authenticate')).toBe(
      `DPoP error="use_dpop_nonce", scope="mcp:use", resource_metadata="${metadata}", ${ALGS}`,
    )
    const records = await recordsOf(server, answer)
    const reason = 'authenticate.dpop-nonce'
    // A client that has not been told a nonce has not failed.
    const failure = failed === false ? [] : [['authn.fail', reason, 'nonce']]
    const said = records.map((one) => [eventOf(one), one.status_detail, one.status_code])
    expect(said).toEqual([...failure, ['request', reason, '401']])
    const nonce = answer.headers.get('dpop-nonce') ?? ''
    expect(nonce).toMatch(/^[\w-]{43}$/)
    const next = await send(token, proofFor(token, { nonce }))
    await expectServed(next)
    const everything = `${answer.body}${[...answer.headers]}${server.stdout()}${server.stderr()}`
    for (const secret of [...token.split('.'), ...proof.split('.'), CANARY]) {
      expect(everything).not.toContain(secret)
    }
  })
})

describe('threat: guessing, one address tries many credentials', () => {
  it('does not count a proof that lacks its nonce, and counts one that is wrong', async () => {
    const strict = await startServer({
      policies: [
        ['limits.yaml', 'authFailuresPerMinute: 30', 'authFailuresPerMinute: 1'],
        issuersOf([issuer, 'dpop']),
      ],
    })
    const token = tokenOf({ aud: strict.url })
    const call = async (claims: Members = {}): Promise<number> => {
      const proof = proofOf({ key: client, token, url: strict.url, claims })
      const lines = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`]
      return (await attempt(strict, { lines })).status
    }
    expect([await call(), await call(), await call()]).toEqual([401, 401, 401])
    expect([await call({ htm: 'GET' }), await call({ htm: 'GET' })]).toEqual([401, 429])
    expect(await call()).toBe(401)
    await strict.stop()
  })
})

describe('contract: what a client learns', () => {
  it('offers DPoP after Bearer, so that MCP clients read the rest as before', async () => {
    const answer = await attempt(server, {})
    const reason = 'authenticate.missing'
    await expectRefused(server, answer, { status: 401, reason, offer: OFFER })
    const headers = { 'www-authenticate': answer.headers.get('www-authenticate') ?? '' }
    const read = extractWWWAuthenticateParams(new Response(null, { status: 401, headers }))
    expect(read).toMatchObject({ scope: 'mcp:use', error: undefined })
    expect(read.resourceMetadataUrl?.pathname).toBe('/.well-known/oauth-protected-resource/mcp')
  })

  it('finds it in the public document', async () => {
    const path = '/.well-known/oauth-protected-resource/mcp'
    const document = await (await fetch(new URL(path, server.url))).json()
    expect(document).toMatchObject({
      dpop_signing_alg_values_supported: ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
      dpop_bound_access_tokens_required: false,
    })
  })

  it('works with the DPoP support of the MCP client', async () => {
    const session = await DpopSession.create()
    const token = tokenOf({ cnf: { jkt: session.thumbprint } })
    const statuses: number[] = []
    const transport = new StreamableHTTPClientTransport(new URL(server.url), {
      fetch: withDpop(
        session,
        () => token,
      )(async (...request) => {
        const response = await fetch(...request)
        statuses.push(response.status)
        return response
      }),
    })
    const mcp = new Client({ name: 'test', version: '1.0.0' })
    await mcp.connect(transport)
    const result = await mcp.callTool({ name: 'whoami', arguments: {} })
    expect(result.structuredContent).toMatchObject({ issuer: issuer.url })
    await mcp.close()
    expect(statuses.filter((status) => status === 401)).toHaveLength(1)
  })

  it('works with another DPoP client', async () => {
    const keyPair = await generateKeyPair('Ed25519')
    const jkt = await calculateJwkThumbprint(await exportJWK(keyPair.publicKey))
    const token = tokenOf({ cnf: { jkt } })
    const handle = DPoP({}, keyPair)
    const call = () =>
      protectedResourceRequest(
        token,
        'POST',
        new URL(server.url),
        new Headers({
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        }),
        callOf('whoami', {}),
        { DPoP: handle, [allowInsecureRequests]: true },
      )
    const first: unknown = await call().catch((error: unknown) => error)
    expect(isDPoPNonceError(first)).toBe(true)
    expect((await call()).status).toBe(200)
  })
})

/** Another base64url letter with the same upper four bits. */
function otherLast(thumb: string): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return letters.charAt(letters.indexOf(thumb.slice(-1)) + 1)
}
