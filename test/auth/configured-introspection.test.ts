// optional: introspection
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  clientSecretFiles,
  configuredIntrospection,
} from '../../src/auth/configured-introspection.ts'
import type { AuthStrategy } from '../../src/auth/strategy.ts'
import { createLogger } from '../../src/log.ts'
import { createOutbound } from '../../src/outbound.ts'
import type { AuthPolicy } from '../../src/policy.ts'
import { authPolicy } from '../../src/policy-schemas.ts'
import { Problems } from '../../src/problems.ts'
import { testClock } from '../clock.ts'

const CANARY = 'canary-6e2f7a'
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-secrets-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SIGNING = { issuer: 'https://other.example.com', why: 'a test' }

/** One issuer whose tokens are JWTs, and one that is asked. */
function policyOf(clientSecretFile: string): AuthPolicy {
  const url = 'https://auth.example.com'
  const introspection = { endpoint: `${url}/introspect`, clientId: 'gatehouse', clientSecretFile }
  return authPolicy('production').parse({
    baseScope: 'mcp:use',
    apiKeys: { enabled: true, maxLifetimeDays: 365, header: null },
    issuers: [
      SIGNING,
      { issuer: url, verification: 'introspection', introspection, why: 'a test' },
    ],
    jwks: { cacheSeconds: 600, cooldownSeconds: 30, staleIfErrorSeconds: 3600, timeoutMs: 3000 },
    verificationCacheSeconds: 60,
  })
}

function strategiesOf(policy: AuthPolicy): readonly AuthStrategy[] {
  return configuredIntrospection({
    policy,
    publicUrl: 'https://mcp.example.com/mcp',
    outbound: createOutbound({ mode: 'production' }),
    clock: testClock(),
    logger: createLogger('silent'),
  })
}

function fileOf(text: string): string {
  const file = join(mkdtempSync(join(folder, 'secret-')), 'secret')
  writeFileSync(file, text)
  return file
}

describe('contract: the client secret is in a file', () => {
  it.each([
    ['a secret', CANARY],
    ['a line break at its end', `${CANARY}\n`],
    ['a line break of Windows', `${CANARY}\r\n`],
    ['spaces and every other character', ` ${CANARY} "%+&=~`],
  ])('accepts %s', (_name, text) => {
    expect(strategiesOf(policyOf(fileOf(text)))).toHaveLength(1)
  })

  it('names the files that are watched', () => {
    expect(clientSecretFiles(policyOf('/run/secrets/a'))).toEqual(['/run/secrets/a'])
  })

  it('needs none, and makes no strategy, when no issuer is asked', () => {
    const { issuers, ...rest } = policyOf(fileOf(CANARY))
    const policy = { ...rest, issuers: issuers.slice(0, 1) }
    expect(strategiesOf(policy)).toEqual([])
    expect(clientSecretFiles(policy)).toEqual([])
  })
})

describe('threat: a client secret that is missing or broken, the server goes on without', () => {
  const unreadable = 'names no file that can be read'
  const wrong = 'must hold 1 to 4096 ASCII characters on one line'

  it.each<[string, () => string, string]>([
    ['no file', () => join(folder, 'missing'), unreadable],
    ['a folder', () => folder, unreadable],
    ['an empty file', () => fileOf(''), wrong],
    ['an empty line', () => fileOf('\n'), wrong],
    ['two lines', () => fileOf(`${CANARY}\n${CANARY}\n`), wrong],
    ['two line breaks', () => fileOf(`${CANARY}\n\n`), wrong],
    ['a byte order mark', () => fileOf(`\ufeff${CANARY}`), wrong],
    ['a null byte', () => fileOf(`${CANARY}\u0000`), wrong],
    ['more than 4096 characters', () => fileOf('x'.repeat(4097)), wrong],
  ])('refuses %s', (_name, make, message) => {
    const policy = policyOf(make())
    let problems: unknown
    try {
      strategiesOf(policy)
    } catch (error) {
      problems = error instanceof Problems ? error.problems : error
    }
    const field = 'auth.yaml issuers.1.introspection.clientSecretFile'
    expect(problems).toEqual([{ field, message }])
  })
})
