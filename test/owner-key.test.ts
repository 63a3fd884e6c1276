import { describe, expect, it } from 'vitest'
import type { Principal } from '../src/context.ts'
import { ownerKey, ownerSpace } from '../src/owner-key.ts'

const ANN: Principal = {
  kind: 'oauth',
  issuer: 'https://auth.example.com',
  client: 'app',
  subject: 'ann',
  scopes: ['mcp:use'],
  roles: ['editor'],
  tenant: 'acme',
}

describe('threat: two owners with one key, a caller reads or uses up what belongs to another', () => {
  it.each<[string, Partial<Principal>]>([
    ['another kind', { kind: 'api-key' }],
    ['another issuer', { issuer: 'https://auth.example.com/' }],
    ['another subject', { subject: 'bob' }],
    ['a subject in another case', { subject: 'Ann' }],
    ['a subject with a space', { subject: 'ann ' }],
    ['no subject', { subject: '' }],
    ['a subject that looks alike', { subject: '\u0430nn' }],
    ['a property of all objects', { subject: 'constructor' }],
  ])('tells apart %s', (_name, change) => {
    const other = { ...ANN, ...change }
    expect(ownerKey(other)).not.toBe(ownerKey(ANN))
    expect(ownerSpace(other)).not.toBe(ownerSpace(ANN))
  })

  it.each<[string, Partial<Principal>, Partial<Principal>]>([
    ['a boundary that moved', { issuer: 'ab', subject: 'c' }, { issuer: 'a', subject: 'bc' }],
    ['an empty part', { issuer: 'a', subject: '' }, { issuer: '', subject: 'a' }],
    ['a length inside a part', { issuer: 'a1:b', subject: 'c' }, { issuer: 'a', subject: 'b1:c' }],
    ['a zero byte', { issuer: 'a\0b', subject: 'c' }, { issuer: 'a', subject: 'b\0c' }],
    ['long characters', { issuer: '\u00e9', subject: 'a' }, { issuer: '\u00e9a', subject: '' }],
  ])('tells apart %s', (_name, one, other) => {
    const client = { client: '' }
    expect(ownerKey({ ...ANN, ...client, ...one })).not.toBe(
      ownerKey({ ...ANN, ...client, ...other }),
    )
    expect(ownerSpace({ ...ANN, ...one })).not.toBe(ownerSpace({ ...ANN, ...other }))
  })

  it('tells a client from a subject', () => {
    expect(ownerKey({ ...ANN, client: 'a', subject: 'b' })).not.toBe(
      ownerKey({ ...ANN, client: 'b', subject: 'a' }),
    )
  })
})

describe('contract: what belongs to whom', () => {
  it('gives streams and budgets to each client of a subject, objects to the subject', () => {
    const elsewhere = { ...ANN, client: 'other' }
    expect(ownerKey(elsewhere)).not.toBe(ownerKey(ANN))
    expect(ownerSpace(elsewhere)).toBe(ownerSpace(ANN))
  })

  it('does not depend on rights, which change', () => {
    const promoted = { ...ANN, scopes: [], roles: ['admin'], tenant: null }
    expect(ownerKey(promoted)).toBe(ownerKey(ANN))
    expect(ownerSpace(promoted)).toBe(ownerSpace(ANN))
  })

  it('says nothing of the owner', () => {
    expect(ownerKey(ANN)).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(ownerSpace(ANN)).toMatch(/^[A-Za-z0-9_-]{43}$/)
  })
})
