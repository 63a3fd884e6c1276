import { describe, expect, it } from 'vitest'
import { challenge, metadataUrl, protectedResourceMetadata } from '../../src/auth/metadata.ts'

const RESOURCE = 'https://mcp.example.com/mcp'
const METADATA = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'

const plain = (issuer: string) => ({ issuer, senderConstraint: 'none' as const })

describe('contract: protected resource metadata', () => {
  it('says what a client has to know', () => {
    const issuers = [plain('https://b.example'), plain('https://a.example')]
    expect(protectedResourceMetadata(RESOURCE, issuers, ['z:use', 'a:use'])).toEqual({
      resource: RESOURCE,
      authorization_servers: ['https://b.example', 'https://a.example'],
      scopes_supported: ['a:use', 'z:use'],
      bearer_methods_supported: ['header'],
    })
  })

  it('leaves the list of issuers out when it is empty', () => {
    const document = protectedResourceMetadata(RESOURCE, [], ['mcp:use'])
    expect(Object.keys(document)).not.toContain('authorization_servers')
  })

  it('says that tokens are bound to certificates, when those of any issuer are', () => {
    const bound = { ...plain('https://a.example'), senderConstraint: 'mtls' as const }
    const documents = [[bound], [plain('https://b.example'), bound], [plain('https://b.example')]]
    expect(
      documents.map(
        (issuers) =>
          protectedResourceMetadata(RESOURCE, issuers, [])
            .tls_client_certificate_bound_access_tokens,
      ),
    ).toEqual([true, true, undefined])
  })

  it('never asks for offline_access', () => {
    const { scopes_supported } = protectedResourceMetadata(RESOURCE, [], ['offline_access', 'a'])
    expect(scopes_supported).toEqual(['a'])
  })

  it('says nothing else of a policy', () => {
    const rest = { why: 'internal', jwksUri: 'https://b.example' }
    const issuer = { ...plain('https://a.example'), ...rest }
    const text = JSON.stringify(protectedResourceMetadata(RESOURCE, [issuer], []))
    expect(text).not.toMatch(/internal|b\.example/)
  })

  it.each([
    [RESOURCE, METADATA],
    ['https://mcp.example.com/', 'https://mcp.example.com/.well-known/oauth-protected-resource'],
    ['https://mcp.example.com', 'https://mcp.example.com/.well-known/oauth-protected-resource'],
    ['http://127.0.0.1:3000/mcp', 'http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp'],
    [
      'https://a.example/team/mcp',
      'https://a.example/.well-known/oauth-protected-resource/team/mcp',
    ],
  ])('of %s is at %s', (resource, url) => {
    expect(metadataUrl(resource)).toBe(url)
  })
})

describe('contract: the challenge', () => {
  it('has no error when no credential was sent', () => {
    expect(challenge(METADATA, ['mcp:use'])).toBe(
      `Bearer scope="mcp:use", resource_metadata="${METADATA}"`,
    )
  })

  it.each(['invalid_token', 'insufficient_scope'] as const)('says %s', (error) => {
    expect(challenge(METADATA, ['a', 'b'], error)).toBe(
      `Bearer error="${error}", scope="a b", resource_metadata="${METADATA}"`,
    )
  })

  it('names another scheme', () => {
    expect(challenge(METADATA, ['a'], 'use_dpop_nonce', 'DPoP')).toBe(
      `DPoP error="use_dpop_nonce", scope="a", resource_metadata="${METADATA}"`,
    )
  })

  it('leaves the scope out when there is none', () => {
    expect(challenge(METADATA, [])).toBe(`Bearer resource_metadata="${METADATA}"`)
  })
})

describe('threat: header injection, a value ends its quoted string', () => {
  it.each(['a"', 'a\\', 'a\r\nSet-Cookie: a', 'a\u0000', 'ä', 'a\u007f'])('refuses %j', (value) => {
    expect(() => challenge(METADATA, [value])).toThrow(TypeError)
    expect(() => challenge(value, ['a'])).toThrow(TypeError)
  })
})
