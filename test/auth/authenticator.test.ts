import { describe, expect, it } from 'vitest'
import { authenticator } from '../../src/auth/authenticator.ts'
import {
  type AuthStrategy,
  type Credential,
  CredentialFault,
  type Presented,
} from '../../src/auth/strategy.ts'
import type { Identity } from '../../src/context.ts'
import { Denied } from '../../src/errors.ts'

const identity = (subject: string): Identity => ({
  principal: {
    kind: 'api-key',
    issuer: 'gatehouse',
    client: '',
    subject,
    scopes: [],
    roles: [],
    tenant: null,
  },
  credentialDigest: '',
  credentialId: null,
  expiresAt: null,
  claims: {},
})
const sent: Presented = {
  scheme: 'bearer',
  token: 'token',
  digest: 'digest',
  address: '192.0.2.1',
  certificate: undefined,
  method: 'POST',
  proofs: [],
}

/** A strategy that owns credentials or does not, and counts how often it was asked. */
function strategy(answer: Identity | Error | undefined): AuthStrategy & { asked(): number } {
  let asked = 0
  async function decide(_credential: Credential): Promise<Identity | undefined> {
    asked += 1
    if (answer instanceof Error) throw answer
    return answer
  }
  return {
    recall: () => (answer instanceof Error ? undefined : answer),
    verify: decide,
    recheck: decide,
    available: () => true,
    close() {},
    asked: () => asked,
  }
}

const REJECTED = new Denied('authenticate.rejected', { cause: new CredentialFault('signature') })
const nobody = (): boolean => false

const faultOf = async (result: Promise<unknown>): Promise<unknown> => {
  const error: unknown = await result.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof Denied)) return error
  expect(error.reason).toBe('authenticate.rejected')
  return error.cause instanceof CredentialFault ? error.cause.fault : undefined
}

describe('threat: a bad credential, it becomes a second chance with another strategy', () => {
  it.each(['verify', 'recheck'] as const)(
    '%s asks nobody after the owner has refused',
    async (ask) => {
      const next = strategy(identity('mallory'))
      const all = authenticator([strategy(undefined), strategy(REJECTED), next], nobody)
      await expect(all[ask](sent, 0)).rejects.toBe(REJECTED)
      expect(next.asked()).toBe(0)
    },
  )

  it.each(['verify', 'recheck'] as const)('%s refuses what nobody owns', async (ask) => {
    const none = authenticator([strategy(undefined), strategy(undefined)], nobody)
    expect(await faultOf(none[ask](sent, 0))).toBe('shape')
    expect(await faultOf(authenticator([], nobody)[ask](sent, 0))).toBe('shape')
  })

  it.each(['verify', 'recheck'] as const)('%s lets through whom the owner knows', async (ask) => {
    const all = authenticator([strategy(undefined), strategy(identity('alice'))], nobody)
    expect(await all[ask](sent, 0)).toEqual(identity('alice'))
  })
})

describe('threat: somebody on the deny list, a good credential lets them in', () => {
  const all = authenticator(
    [strategy(identity('mallory')), strategy(identity('alice'))],
    ({ principal }) => principal.subject === 'mallory',
  )

  it.each(['verify', 'recheck'] as const)('%s refuses them, and asks nobody else', async (ask) => {
    expect(await faultOf(all[ask](sent, 0))).toBe('denied')
  })

  it('tells them apart without a strategy', () => {
    const nobodyKnows = authenticator([], ({ principal }) => principal.subject === 'mallory')
    expect(nobodyKnows.denies(identity('mallory'))).toBe(true)
    expect(nobodyKnows.denies(identity('alice'))).toBe(false)
  })

  it('does not know them from a moment ago', () => {
    expect(all.recall(sent, 0)).toBeUndefined()
  })

  it('knows others from a moment ago', () => {
    const known = authenticator([strategy(undefined), strategy(identity('alice'))], nobody)
    expect(known.recall(sent, 0)).toEqual(identity('alice'))
    expect(authenticator([strategy(undefined)], nobody).recall(sent, 0)).toBeUndefined()
  })
})
