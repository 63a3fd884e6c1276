// optional: dpop
import { describe, expect, it } from 'vitest'
import { dpopMetadata, offerDpop } from '../../src/auth/dpop-metadata.ts'
import type { DenyReason } from '../../src/errors.ts'
import { type AuthPolicy, loadPolicies } from '../../src/policy.ts'
import { authPolicy } from '../../src/policy-schemas.ts'

const METADATA = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
const ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256']
const { auth: shipped } = loadPolicies('policies', 'production')

function policyOf(keys: boolean, ...constraints: readonly string[]): AuthPolicy {
  return authPolicy('production').parse({
    ...shipped,
    apiKeys: { ...shipped.apiKeys, enabled: keys },
    issuers: constraints.map((senderConstraint, index) => ({
      issuer: `https://${index}.example.com`,
      senderConstraint,
      why: 'of the test',
    })),
  })
}

describe('contract: what clients are told of DPoP', () => {
  it.each([
    ['no issuer', policyOf(true), {}],
    ['no issuer that requires it', policyOf(false, 'none', 'mtls'), {}],
    ['one that does, and API keys', policyOf(true, 'dpop'), { required: false }],
    ['one that does, and another one', policyOf(false, 'dpop', 'none'), { required: false }],
    ['one that does, alone', policyOf(false, 'dpop'), { required: true }],
    ['all', policyOf(false, 'dpop', 'dpop'), { required: true }],
  ])('is in the public document: %s', (_name, policy, { required }: { required?: boolean }) => {
    expect(dpopMetadata(policy)).toEqual(
      required === undefined
        ? {}
        : {
            dpop_signing_alg_values_supported: ALGORITHMS,
            dpop_bound_access_tokens_required: required,
          },
    )
  })

  it('is in the challenges, after what MCP clients read', () => {
    const challenges = new Map<DenyReason, string>([['authenticate.missing', 'Bearer scope="a"']])
    offerDpop(challenges, METADATA, policyOf(true, 'none', 'dpop'))
    const algs = `algs="${ALGORITHMS.join(' ')}"`
    const rest = `scope="${shipped.baseScope}", resource_metadata="${METADATA}"`
    expect([...challenges]).toEqual([
      ['authenticate.missing', `Bearer scope="a", DPoP ${algs}`],
      ['authenticate.dpop-nonce', `DPoP error="use_dpop_nonce", ${rest}, ${algs}`],
    ])
  })

  it('is not in them when no issuer requires it', () => {
    const challenges = new Map<DenyReason, string>([['authenticate.missing', 'Bearer scope="a"']])
    offerDpop(challenges, METADATA, policyOf(true, 'none', 'mtls'))
    expect([...challenges]).toEqual([['authenticate.missing', 'Bearer scope="a"']])
  })
})
