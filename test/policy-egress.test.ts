import { describe, expect, it } from 'vitest'
import { egressPolicy } from '../src/policy-egress.ts'

const ENTRY = { origin: 'https://api.example.com', methods: ['GET'], paths: ['/v1/'], why: 'rates' }

function isTaken(change: object, mode: 'development' | 'production' = 'production'): boolean {
  return egressPolicy(mode).safeParse({ tools: { rates: [{ ...ENTRY, ...change }] } }).success
}

describe('contract: destinations of tools', () => {
  it.each<[string, object]>([
    ['an origin', {}],
    ['an origin with a port', { origin: 'https://api.example.com:8443' }],
    ['an address', { origin: 'https://[2606:4700::1111]' }],
    ['one path', { paths: ['/v1/rates'] }],
    ['all paths', { paths: ['/'] }],
    ['a credential', { credential: { file: '/run/secrets/key' } }],
    ['a credential without a scheme', { credential: { file: 'k', header: 'X-Key', scheme: null } }],
    ['a private network', { private: true }],
  ])('takes %s', (_name, change) => {
    expect(isTaken(change)).toBe(true)
  })

  it('is no destination when nothing is said', () => {
    const parsed = egressPolicy('production').parse({ tools: { rates: [ENTRY] } })
    expect(parsed.tools['rates']?.[0]).toMatchObject({
      private: false,
      timeoutMs: 10_000,
      requestBytes: 65_536,
      responseBytes: 1_048_576,
    })
  })
})

describe('threat: a careless entry, it opens more than was meant', () => {
  it.each<[string, object]>([
    ['every host', { origin: '*' }],
    ['hosts by pattern', { origin: 'https://*.example.com' }],
    ['a path in the origin', { origin: 'https://api.example.com/v1' }],
    ['a final slash', { origin: 'https://api.example.com/' }],
    ['a user', { origin: 'https://user@api.example.com' }],
    ['capital letters', { origin: 'https://API.example.com' }],
    ['clear text', { origin: 'http://api.example.com' }],
    ['this machine', { origin: 'http://127.0.0.1:8080' }],
    ['a file', { origin: 'file://' }],
    ['no method', { methods: [] }],
    ['another method', { methods: ['CONNECT'] }],
    ['a method in small letters', { methods: ['get'] }],
    ['no path', { paths: [] }],
    ['a path without a slash', { paths: ['v1/'] }],
    ['a path that climbs', { paths: ['/v1/../'] }],
    ['a path with escapes', { paths: ['/v1/%2e%2e/'] }],
    ['a path with an empty segment', { paths: ['/v1//x'] }],
    ['a path with a query', { paths: ['/v1?x'] }],
    ['a pattern of paths', { paths: ['/v1/*', '/v1/**/x?'] }],
    ['a credential of the connection', { credential: { file: 'k', header: 'Host' } }],
    ['a credential in a cookie', { credential: { file: 'k', header: 'Cookie' } }],
    ['a credential with a line break', { credential: { file: 'k', scheme: 'A\r\nB: c' } }],
    ['no end in time', { timeoutMs: 0 }],
    ['an answer without an end', { responseBytes: 1e9 }],
    ['no reason', { why: '' }],
    ['what nobody knows', { redirects: true }],
  ])('refuses %s', (_name, change) => {
    expect(isTaken(change)).toBe(false)
  })

  it('opens this machine in development alone, in clear text', () => {
    expect(isTaken({ origin: 'http://127.0.0.1:8080' }, 'development')).toBe(true)
    expect(isTaken({ origin: 'http://10.0.0.1:8080' }, 'development')).toBe(false)
  })
})
