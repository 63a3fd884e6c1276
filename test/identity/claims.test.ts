// optional: oauth
import { afterAll, beforeAll, describe, it } from 'vitest'
import { CANARY } from './attempt.ts'
import type { Members } from './issuer.ts'
import { NOW, startTarget, type Target } from './target.ts'

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target[Symbol.asyncDispose]())

type Row = readonly [name: string, cause: string, make: () => string]

describe('threat: a token for another target.server, of another issuer or of another kind', () => {
  it.each<Row>([
    [
      'another resource',
      'audience',
      () => target.token({ aud: 'https://target.other.example/mcp' }),
    ],
    [
      'another path of this server',
      'audience',
      () => target.token({ aud: `${target.server.url}/admin` }),
    ],
    [
      'the origin of this server',
      'audience',
      () => target.token({ aud: new URL(target.server.url).origin }),
    ],
    [
      'a prefix of the audience',
      'audience',
      () => target.token({ aud: target.server.url.slice(0, -1) }),
    ],
    [
      'a slash after the audience',
      'audience',
      () => target.token({ aud: `${target.server.url}/` }),
    ],
    [
      'a fragment after the audience',
      'audience',
      () => target.token({ aud: `${target.server.url}#x` }),
    ],
    [
      'the audience as a suffix',
      'audience',
      () => target.token({ aud: `https://e.example/${target.server.url}` }),
    ],
    [
      'the audience in capitals',
      'audience',
      () => target.token({ aud: target.server.url.toUpperCase() }),
    ],
    [
      'the audience under another name',
      'audience',
      () => target.token({ aud: target.server.url.replace('127.0.0.1', 'localhost') }),
    ],
    [
      'a list of other audiences',
      'audience',
      () => target.token({ aud: ['https://a.example', `${target.server.url}/`] }),
    ],
    [
      'the audience in a list in a list',
      'audience',
      () => target.token({ aud: [[target.server.url]] }),
    ],
    [
      'two audiences in one text',
      'audience',
      () => target.token({ aud: `${target.server.url} https://a.example` }),
    ],
    [
      'an audience that is an object',
      'audience',
      () => target.token({ aud: { 0: target.server.url } }),
    ],
    ['an empty list of audiences', 'audience', () => target.token({ aud: [] })],
    ['an asterisk as audience', 'audience', () => target.token({ aud: '*' })],
    ['no audience', 'audience', () => target.token({ aud: undefined })],
    [
      'the client as audience',
      'audience',
      () => target.token({ aud: 'client-1', resource: target.server.url }),
    ],
    ['a slash after the issuer', 'issuer', () => target.token({ iss: `${target.issuer.url}/` })],
    [
      'the issuer in capitals',
      'issuer',
      () => target.token({ iss: target.issuer.url.toUpperCase() }),
    ],
    [
      'the issuer over https',
      'issuer',
      () => target.token({ iss: target.issuer.url.replace('http', 'https') }),
    ],
    [
      'the issuer with a user',
      'issuer',
      () => target.token({ iss: target.issuer.url.replace('//', '//a@') }),
    ],
    [
      'the issuer under another name',
      'issuer',
      () => target.token({ iss: target.issuer.url.replace('127.0.0.1', 'localhost') }),
    ],
    ['the issuer with a space', 'issuer', () => target.token({ iss: `${target.issuer.url} ` })],
    ['the issuer in a list', 'issuer', () => target.token({ iss: [target.issuer.url] })],
    [
      'both issuers in a list',
      'issuer',
      () => target.token({ iss: [target.issuer.url, target.other.url] }),
    ],
    ['no issuer', 'issuer', () => target.token({ iss: undefined })],
    ['the issuer of API keys', 'issuer', () => target.token({ iss: 'gatehouse' })],
    ['issuer __proto__', 'issuer', () => target.token({ iss: '__proto__' })],
    ['no typ', 'type', () => target.token({}, { typ: undefined })],
    ['typ JWT', 'type', () => target.token({}, { typ: 'JWT' })],
    ['an ID token', 'type', () => target.token({ nonce: 'n' }, { typ: 'id_token' })],
    [
      'a DPoP proof',
      'type',
      () => target.token({ htm: 'POST', htu: target.server.url }, { typ: 'dpop+jwt' }),
    ],
    ['a logout token', 'type', () => target.token({ events: {} }, { typ: 'logout+jwt' })],
    ['a security event', 'type', () => target.token({}, { typ: 'secevent+jwt' })],
    [
      'an introspection response',
      'type',
      () => target.token({}, { typ: 'token-introspection+jwt' }),
    ],
    ['a type that begins like ours', 'type', () => target.token({}, { typ: 'at+jwt; v=1' })],
    ['a type with a space', 'type', () => target.token({}, { typ: ' at+jwt' })],
    ['a type that is a list', 'type', () => target.token({}, { typ: ['at+jwt'] })],
    [
      'a token bound to a DPoP key',
      'sender-constrained',
      () => target.token({ cnf: { jkt: 'AAAA' } }),
    ],
    [
      'a token bound to a certificate',
      'sender-constrained',
      () => target.token({ cnf: { 'x5t#S256': 'AAAA' } }),
    ],
    ['an empty binding', 'sender-constrained', () => target.token({ cnf: {} })],
    ['a binding of null', 'sender-constrained', () => target.token({ cnf: null })],
  ])('refuses %s', async (_name, cause, make) => {
    await target.refuses(cause, make())
  })
})

describe('threat: a token out of its time, a stolen one works for ever', () => {
  it.each<readonly [string, string, Members]>([
    ['an end just past the tolerance', 'expired', { exp: NOW - 31, iat: NOW - 90 }],
    ['an end in 1970', 'expired', { exp: 1, iat: 0 }],
    ['a negative end', 'expired', { exp: -1, iat: -2 }],
    ['no end', 'claims', { exp: undefined }],
    ['an end of null', 'claims', { exp: null }],
    ['an end as a text', 'claims', { exp: String(NOW + 600) }],
    ['an end with a fraction', 'claims', { exp: NOW + 600.5 }],
    ['an end beyond all integers', 'claims', { exp: 1e300 }],
    ['an end in a list', 'claims', { exp: [NOW + 600] }],
    ['an end that is true', 'claims', { exp: true }],
    ['an end in milliseconds', 'lifetime', { exp: (NOW + 600) * 1000 }],
    ['a day and a second', 'lifetime', { iat: NOW, exp: NOW + 86_401 }],
    ['a beginning long ago', 'lifetime', { iat: 0 }],
    ['an end before its beginning', 'lifetime', { iat: NOW + 20, exp: NOW + 10 }],
    ['no beginning', 'claims', { iat: undefined }],
    ['a beginning as a text', 'claims', { iat: String(NOW) }],
    ['a beginning in an hour', 'not-yet-valid', { iat: NOW + 3600, exp: NOW + 7200 }],
    ['nbf in an hour', 'not-yet-valid', { nbf: NOW + 3600, exp: NOW + 7200 }],
    ['nbf as a text', 'claims', { nbf: 'now' }],
  ])('refuses %s', async (_name, cause, changes) => {
    await target.refuses(cause, target.token(changes))
  })
})

describe('threat: claims of another shape, they turn into rights', () => {
  it.each<readonly [string, Members]>([
    ['no subject', { sub: undefined }],
    ['an empty subject', { sub: '' }],
    ['a subject of null', { sub: null }],
    ['a subject that is a number', { sub: 1 }],
    ['a subject of 256 characters', { sub: 'x'.repeat(256) }],
    ['a line break in the subject', { sub: `user-1\n${CANARY}` }],
    ['a null byte in the subject', { sub: 'user-1\u0000' }],
    ['an escape sequence in the subject', { sub: '\u001b]0;x\u0007user-1' }],
    ['a bidirectional control in the subject', { sub: 'user\u202e1' }],
    ['an invisible character in the subject', { sub: 'user-1\u200b' }],
    ['a letter that looks alike in the subject', { sub: 'us\u0435r-1' }],
    ['scopes in a list', { scope: ['mcp:use'] }],
    ['scopes in a list in a list', { scope: [['mcp:use']] }],
    ['scopes in an object', { scope: { 'mcp:use': true } }],
    ['a scope of null', { scope: null }],
    ['a scope of true', { scope: true }],
    ['a tab between scopes', { scope: 'mcp:use\treports:delete' }],
    ['a line break between scopes', { scope: 'mcp:use\nreports:delete' }],
    ['a comma and a quote in scopes', { scope: 'mcp:use,"reports:delete"' }],
    ['two spaces between scopes', { scope: 'mcp:use  reports:delete' }],
    ['a space after the scopes', { scope: 'mcp:use ' }],
    ['a no-break space between scopes', { scope: 'mcp:use\u00a0reports:delete' }],
    ['a client that is an object', { client_id: {} }],
    ['an empty client beside azp', { client_id: '', azp: 'client-1' }],
    ['roles in a text', { roles: 'bulk' }],
    ['a role with a line break', { roles: ['bulk\n'] }],
    ['a tenant in a list', { tenant: ['t'] }],
    ['an empty tenant', { tenant: '' }],
  ])('refuses %s', async (_name, changes) => {
    await target.refuses('claims', target.token(changes))
  })
})
