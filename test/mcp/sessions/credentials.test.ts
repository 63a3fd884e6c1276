// optional: legacy-sessions
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Authenticator } from '../../../src/auth/authenticator.ts'
import { CredentialFault } from '../../../src/auth/strategy.ts'
import type { AppVariables } from '../../../src/context.ts'
import { Denied } from '../../../src/errors.ts'
import { credentialHolds } from '../../../src/holds.ts'
import { credentialsOf } from '../../../src/mcp/sessions/credentials.ts'
import { testClock } from '../../clock.ts'

const IDENTITY: AppVariables['identity'] = {
  principal: {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'client',
    subject: 'user',
    scopes: [],
    roles: [],
    tenant: null,
  },
  credentialDigest: '',
  credentialId: null,
  expiresAt: null,
  claims: {},
}

function of(digest: string): Pick<AppVariables, 'credential' | 'identity'> {
  const credential = {
    scheme: 'bearer',
    token: digest,
    digest,
    address: '',
    certificate: undefined,
  } as const
  return { credential, identity: IDENTITY }
}

/** A session that these credentials have used, in that order, and who is asked about them. */
async function used(...digests: readonly string[]) {
  const holds = credentialHolds(testClock())
  onTestFinished(() => holds.close())
  let revoked = 0
  const credentials = credentialsOf(holds, () => {
    revoked += 1
  })
  for (const digest of digests) credentials.note(of(digest))
  const asked: string[] = []
  async function check(faults: Readonly<Record<string, 'revoked' | 'expired'>>): Promise<number> {
    const judge: Pick<Authenticator, 'recheck' | 'denies'> = {
      async recheck({ digest }) {
        asked.push(digest)
        const fault = faults[digest]
        if (fault === undefined) return IDENTITY
        throw new Denied('authenticate.rejected', { cause: new CredentialFault(fault) })
      },
      denies: () => false,
    }
    holds.use(judge)
    await holds.check()
    return revoked
  }
  return { check, asked, credentials }
}

describe('threat: a revoked credential, the session goes on by another that was forgotten', () => {
  it('ends with the last that is revoked, not with the first', async () => {
    const { check } = await used('a', 'b', 'a')
    expect(await check({ a: 'revoked' })).toBe(0)
    expect(await check({ b: 'revoked' })).toBe(1)
  })

  it('does not end with one that expires, and ends when the other is revoked', async () => {
    const { check } = await used('a', 'b')
    expect(await check({ a: 'expired' })).toBe(0)
    expect(await check({ b: 'revoked' })).toBe(1)
  })

  it('remembers the four that used it last', async () => {
    const { check, asked } = await used('a', 'b', 'c', 'd', 'a', 'e')
    await check({})
    expect(asked.sort()).toEqual(['a', 'c', 'd', 'e'])
  })

  it('asks about none when it has ended', async () => {
    const { check, asked, credentials } = await used('a', 'b')
    credentials.release()
    expect(await check({ a: 'revoked', b: 'revoked' })).toBe(0)
    expect(asked).toEqual([])
  })
})
