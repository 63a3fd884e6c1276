import { describe, expect, it } from 'vitest'
import { type Credential, CredentialFault, type Fault } from '../src/auth/strategy.ts'
import type { Identity } from '../src/context.ts'
import { Denied, type DenyReason } from '../src/errors.ts'
import { credentialHolds, type HoldEnd } from '../src/holds.ts'
import { testClock } from './clock.ts'

const CREDENTIAL: Credential = {
  scheme: 'bearer',
  token: 'token',
  digest: 'digest',
  address: '192.0.2.1',
  certificate: undefined,
}
const IDENTITY: Identity = {
  principal: {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'console',
    subject: 'alice',
    scopes: [],
    roles: [],
    tenant: null,
  },
  credentialDigest: 'digest',
  credentialId: null,
  expiresAt: null,
  claims: {},
}

function setUp() {
  const clock = testClock()
  const holds = credentialHolds(clock)
  const asked: Credential[] = []
  const denied = new Set<string>()
  let answer: () => Identity | Promise<Identity> = () => IDENTITY
  holds.use({
    async recheck(credential) {
      asked.push(credential)
      return await answer()
    },
    denies: ({ principal }) => denied.has(principal.subject),
  })
  return {
    clock,
    holds: { ...holds, add: (credential: Credential) => holds.add(credential, IDENTITY) },
    asked,
    /** The same, of another issuer. */
    addOf: (issuer: string, credential: Credential) =>
      holds.add(credential, { ...IDENTITY, principal: { ...IDENTITY.principal, issuer } }),
    deny: (subject: string) => denied.add(subject),
    /** Its issuer takes its time. */
    stall(): void {
      answer = () => new Promise(() => undefined)
    },
    refuse(reason: DenyReason, fault?: Fault): void {
      const cause = fault === undefined ? undefined : new CredentialFault(fault)
      answer = () => {
        throw new Denied(reason, { cause })
      }
    },
    fail(error: unknown): void {
      answer = () => {
        throw error
      }
    },
  }
}

/** Lets the check that is under way come to its end. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('threat: a revoked credential, whoever stole it keeps what is open', () => {
  it.each<[string, Fault, HoldEnd]>([
    ['revoked', 'revoked', 'revoked'],
    ['denied', 'denied', 'revoked'],
    ['gone from the key file', 'unknown', 'revoked'],
    ['inactive at its issuer', 'inactive', 'revoked'],
    ['of another network now', 'address', 'revoked'],
    ['expired', 'expired', 'expired'],
  ])('ends an open answer when its credential is %s', async (_name, fault, end) => {
    const { clock, holds, refuse } = setUp()
    const ended: HoldEnd[] = []
    holds.add(CREDENTIAL).hold.onEnd((reason) => ended.push(reason))
    clock.advance(10_000)
    await settled()
    expect(ended).toEqual([])

    refuse('authenticate.rejected', fault)
    clock.advance(9999)
    await settled()
    expect(ended).toEqual([])
    clock.advance(1)
    await settled()
    expect(ended).toEqual([end])
  })

  it('goes on checking for as long as anything is open', async () => {
    const { clock, holds, asked } = setUp()
    holds.add(CREDENTIAL)
    for (let count = 0; count < 5; count += 1) {
      clock.advance(10_000)
      await settled()
    }
    expect(asked).toHaveLength(5)
  })

  it('ends every answer of the credential, and no other', async () => {
    const { holds, refuse } = setUp()
    const ended: string[] = []
    const of = (name: string, credential: Credential): void =>
      holds.add(credential).hold.onEnd(() => ended.push(name))
    of('first', CREDENTIAL)
    of('second', CREDENTIAL)
    refuse('authenticate.rejected', 'revoked')
    await holds.check()
    expect(ended).toEqual(['first', 'second'])
  })

  it.each<[string, Partial<Credential>]>([
    ['another token', { digest: 'other' }],
    ['another network', { address: '192.0.2.2' }],
    ['another certificate', { certificate: 'other' }],
    ['another scheme', { scheme: 'dpop' }],
  ])('asks for the same token from %s by itself', async (_name, changes) => {
    const { holds, asked } = setUp()
    const other = { ...CREDENTIAL, ...changes }
    holds.add(CREDENTIAL)
    holds.add(CREDENTIAL)
    holds.add(other)
    await holds.check()
    expect(asked).toEqual([CREDENTIAL, other])
  })

  it.each<[string, DenyReason]>([
    ['its keys are unreachable', 'authenticate.keys-unavailable'],
    ['its introspection is unreachable', 'authenticate.introspection-unavailable'],
  ])('ends what the deny list names, also while the issuer is away: %s', async (_name, reason) => {
    const { holds, refuse, deny } = setUp()
    const ended: HoldEnd[] = []
    holds.add(CREDENTIAL).hold.onEnd((end) => ended.push(end))
    refuse(reason)
    deny('alice')
    await holds.check()
    expect(ended).toEqual(['revoked'])
  })

  it('is not held up by an issuer that takes its time over the credentials of others', async () => {
    const { clock, holds, asked, addOf, stall, refuse, deny } = setUp()
    const ended: string[] = []
    const of = (name: string, issuer: string): void => {
      addOf(issuer, { ...CREDENTIAL, digest: name }).hold.onEnd(() => ended.push(name))
    }
    for (let count = 0; count < 100; count += 1) of(`slow ${count}`, 'https://slow.example.com')
    stall()
    clock.advance(10_000)
    await settled()
    expect(asked).toHaveLength(8)

    of('key', 'gatehouse')
    refuse('authenticate.rejected', 'revoked')
    clock.advance(10_000)
    await settled()
    expect(ended).toEqual(['key'])
    // The round that goes on at the slow issuer is not begun again.
    expect(asked).toHaveLength(9)

    deny('alice')
    clock.advance(10_000)
    await settled()
    expect(new Set(ended).size).toBe(101)
    holds.close()
  })

  it('asks again when others decide, whatever those before them still wait for', async () => {
    const { holds, stall } = setUp()
    const ended: HoldEnd[] = []
    holds.add(CREDENTIAL).hold.onEnd((end) => ended.push(end))
    stall()
    void holds.check()
    await settled()
    holds.use({
      recheck: () => Promise.reject(new Denied('authenticate.rejected')),
      denies: () => false,
    })
    await holds.check()
    expect(ended).toEqual(['revoked'])
  })

  it('checks hundreds of credentials, each once', async () => {
    const { holds, asked } = setUp()
    for (let count = 0; count < 100; count += 1) holds.add({ ...CREDENTIAL, digest: `${count}` })
    await holds.check()
    expect(asked).toHaveLength(100)
  })
})

describe('threat: an outage, everything that is open is lost', () => {
  it.each<[string, DenyReason]>([
    ['the keys of the issuer are unreachable', 'authenticate.keys-unavailable'],
    ['its introspection is unreachable', 'authenticate.introspection-unavailable'],
    ['the store is unreachable', 'store.unavailable'],
  ])('ends nothing when %s', async (_name, reason) => {
    const { holds, refuse } = setUp()
    const ended: HoldEnd[] = []
    holds.add(CREDENTIAL).hold.onEnd((end) => ended.push(end))
    refuse(reason)
    await holds.check()
    expect(ended).toEqual([])
  })

  it('goes on after a check that failed by a bug', async () => {
    const { clock, holds, asked, fail } = setUp()
    holds.add(CREDENTIAL)
    fail(new TypeError('bug'))
    clock.advance(10_000)
    await settled()
    clock.advance(10_000)
    await settled()
    expect(asked).toHaveLength(2)
  })
})

describe('contract: answers that have ended', () => {
  it('are not checked any more', async () => {
    const { holds, asked } = setUp()
    const first = holds.add(CREDENTIAL)
    const second = holds.add(CREDENTIAL)
    first.release()
    first.release()
    await holds.check()
    expect(asked).toHaveLength(1)
    second.release()
    await holds.check()
    expect(asked).toHaveLength(1)
  })

  it('are not told of an end', async () => {
    const { holds, refuse } = setUp()
    const ended: string[] = []
    const { hold, release } = holds.add(CREDENTIAL)
    hold.onEnd(() => ended.push('gone'))
    holds.add(CREDENTIAL).hold.onEnd(() => ended.push('open'))
    release()
    refuse('authenticate.rejected', 'revoked')
    await holds.check()
    expect(ended).toEqual(['open'])
  })

  it('leave nothing behind, and closing ends the watch', () => {
    const { clock, holds } = setUp()
    expect(clock.pending()).toBe(1)
    holds.close()
    expect(clock.pending()).toBe(0)
  })

  it('nobody is asked before there is somebody to ask', async () => {
    const holds = credentialHolds(testClock())
    const ended: HoldEnd[] = []
    holds.add(CREDENTIAL, IDENTITY).hold.onEnd((end) => ended.push(end))
    await holds.check()
    expect(ended).toEqual([])
  })
})
