// optional: api-key
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { apiKey, generateKey, parseKey } from '../../src/auth/api-key.ts'
import type { KeyRecord } from '../../src/auth/key-file.ts'
import { CredentialFault, type Presented } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'

const NOW = Date.parse('2026-06-01T00:00:00Z')
const MADE = generateKey()

const RECORD: KeyRecord = {
  id: MADE.id,
  name: 'ci',
  sha256: MADE.sha256,
  subject: 'build',
  tenant: 'tenant-1',
  roles: ['bulk'],
  scopes: ['mcp:use', 'documents:process'],
  createdAt: '2026-05-01T00:00:00Z',
  expiresAt: '2026-07-01T00:00:00Z',
  allowedCidrs: [],
  revokedAt: null,
}

function credential(token: string, address = '192.0.2.1'): Presented {
  const digest = createHash('sha256').update(token).digest('hex')
  return {
    scheme: 'bearer',
    token,
    digest,
    address,
    certificate: undefined,
    method: 'POST',
    proofs: [],
  }
}

function strategy(record: Partial<KeyRecord> = {}): ReturnType<typeof apiKey> {
  return apiKey({ records: [{ ...RECORD, ...record }] })
}

/** The fault of a refused key; that it is unknown to the limiter goes with it. */
async function faultOf(
  ways: ReturnType<typeof apiKey>,
  sent: Presented,
  nowMs = NOW,
): Promise<string> {
  expect(ways.recall(sent, nowMs)).toBeUndefined()
  const error: unknown = await ways.verify(sent, nowMs).then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof Denied)) throw new Error('was not refused', { cause: error })
  expect(error.reason).toBe('authenticate.rejected')
  expect(error.headers).toEqual({})
  if (!(error.cause instanceof CredentialFault)) throw new Error('has no fault')
  expect(error.cause.message).toBe(error.cause.fault)
  return error.cause.fault
}

/** A text with the checksum that belongs to it. */
function withChecksum(body: string): string {
  return `${body}_${createHash('sha256').update(body).digest('base64url').slice(0, 6)}`
}

const SECRET = 'x'.repeat(43)

describe('contract: the form of a key', () => {
  it('carries an id, 256 random bits and a checksum', () => {
    expect(MADE.key).toMatch(/^mcpk_[a-z2-7]{12}_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{6}$/)
    expect(MADE.key.slice(5, 17)).toBe(MADE.id)
    expect(MADE.sha256).toBe(createHash('sha256').update(MADE.key).digest('hex'))
    expect(withChecksum(MADE.key.slice(0, -7))).toBe(MADE.key)
  })

  it('is another one each time and always parses', () => {
    const keys = Array.from({ length: 1000 }, generateKey)
    expect(new Set(keys.map(({ id }) => id)).size).toBe(1000)
    expect(new Set(keys.map(({ key }) => key.slice(18, 61))).size).toBe(1000)
    for (const { key, id } of keys) expect(parseKey(key)).toEqual({ id })
  })

  it.each([
    ['the empty text', ''],
    ['the prefix alone', 'mcpk_'],
    ['another prefix', withChecksum(`mcpx_abcdefghijkl_${SECRET}`)],
    ['the prefix in capitals', withChecksum(`MCPK_abcdefghijkl_${SECRET}`)],
    ['an id of 11 characters', withChecksum(`mcpk_abcdefghijk_${SECRET}`)],
    ['an id of 13 characters', withChecksum(`mcpk_abcdefghijklm_${SECRET}`)],
    ['an id in capitals', withChecksum(`mcpk_ABCDEFGHIJKL_${SECRET}`)],
    ['id __proto__', withChecksum(`mcpk___proto_____${SECRET}`)],
    ['a short secret', withChecksum(`mcpk_abcdefghijkl_${SECRET.slice(1)}`)],
    ['a long secret', withChecksum(`mcpk_abcdefghijkl_${SECRET}x`)],
    ['a secret of other characters', withChecksum(`mcpk_abcdefghijkl_${SECRET.slice(1)}+`)],
    ['a line break at the end', `${MADE.key}\n`],
    ['a space in front', ` ${MADE.key}`],
    ['two keys', `${MADE.key}${MADE.key}`],
  ])('does not take %s for a key', (_name, text) => {
    expect(parseKey(text)).toBe('shape')
  })

  it.each([
    ['the checksum in lower case', (key: string) => key.slice(0, -6) + 'a'.repeat(6)],
    [
      'a changed secret',
      (key: string) => key.slice(0, 30) + (key[30] === 'a' ? 'b' : 'a') + key.slice(31),
    ],
    [
      'a changed id',
      (key: string) => key.slice(0, 5) + (key[5] === 'a' ? 'b' : 'a') + key.slice(6),
    ],
  ])('sees by the checksum %s', (_name, change) => {
    expect(parseKey(change(MADE.key))).toBe('checksum')
  })
})

describe('contract: a live key', () => {
  it('names the caller', async () => {
    const sent = credential(MADE.key)
    expect(strategy().recall(sent, NOW)).toBeDefined()
    const identity = await strategy().verify(sent, NOW)
    expect(identity).toEqual({
      principal: {
        kind: 'api-key',
        issuer: 'gatehouse',
        client: '',
        subject: 'build',
        scopes: ['mcp:use', 'documents:process'],
        roles: ['bulk'],
        tenant: 'tenant-1',
      },
      credentialDigest: MADE.sha256,
      credentialId: MADE.id,
      expiresAt: Date.parse(RECORD.expiresAt) / 1000,
      claims: {},
    })
    expect(JSON.stringify(identity)).not.toContain(MADE.key)
  })

  it('is one principal with another key of the same subject, so that rotation keeps what it owns', async () => {
    const next = generateKey()
    const ways = apiKey({ records: [RECORD, { ...RECORD, id: next.id, sha256: next.sha256 }] })
    const [first, second] = await Promise.all(
      [MADE.key, next.key].map((key) => ways.verify(credential(key), NOW)),
    )
    expect(second?.principal).toEqual(first?.principal)
  })

  it.each(['', 'token', 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln', 'MCPK_x', 'constructor'])(
    'leaves %j to other strategies',
    async (token) => {
      await expect(strategy().verify(credential(token), NOW)).resolves.toBeUndefined()
      expect(strategy().recall(credential(token), NOW)).toBeUndefined()
    },
  )

  it.each<[string, boolean, Partial<KeyRecord>]>([
    ['a live key', true, {}],
    ['an expired key', false, { expiresAt: '2026-06-01T00:00:00Z' }],
    ['a revoked key', false, { revokedAt: '2026-05-02T00:00:00Z' }],
  ])('tells readiness whether anybody could come in: %s', (_name, available, record) => {
    expect(strategy(record).available(NOW)).toBe(available)
  })

  it('tells readiness that nobody could come in without a key', () => {
    expect(apiKey({ records: [] }).available(NOW)).toBe(false)
  })
})

describe('threat: guessed and forged keys, an attacker becomes the owner of a key', () => {
  it.each([
    ['a short key', 'mcpk_x', 'shape'],
    ['a default key', 'mcpk_changeme', 'shape'],
    ['a key without checksum', MADE.key.slice(0, -7), 'shape'],
    ['a wrong checksum', `${MADE.key.slice(0, -6)}aaaaaa`, 'checksum'],
    ['another key', generateKey().key, 'unknown'],
    ['the right id with another secret', withChecksum(`mcpk_${MADE.id}_${SECRET}`), 'unknown'],
    [
      'another id with the right secret',
      withChecksum(`mcpk_abcdefghijkl_${MADE.key.slice(18, 61)}`),
      'unknown',
    ],
  ])('refuses %s', async (_name, key, fault) => {
    expect(await faultOf(strategy(), credential(key))).toBe(fault)
  })

  it('refuses every key when there is none', async () => {
    expect(await faultOf(apiKey({ records: [] }), credential(MADE.key))).toBe('unknown')
  })

  it('refuses a key whose record has the digest of something else', async () => {
    const sha256 = createHash('sha256').update('changeme').digest('hex')
    expect(await faultOf(strategy({ sha256 }), credential(MADE.key))).toBe('unknown')
    const sent = { ...credential(withChecksum(`mcpk_${MADE.id}_${SECRET}`)) }
    expect(await faultOf(strategy({ sha256 }), sent)).toBe('unknown')
  })

  it('refuses a key of no record although its digest is that of the dummy', async () => {
    const sent = { ...credential(generateKey().key), digest: '0'.repeat(64) }
    expect(await faultOf(strategy(), sent)).toBe('unknown')
  })
})

describe('threat: scanning, an attacker or a typing error has keys looked up at no cost', () => {
  /** What is looked up in any map while a key is recalled and verified. */
  async function lookedUp(key: string): Promise<readonly unknown[]> {
    const ways = strategy()
    const sent = credential(key)
    const get = vi.spyOn(Map.prototype, 'get')
    try {
      ways.recall(sent, NOW)
      await ways.verify(sent, NOW).catch(() => undefined)
      return get.mock.calls.map(([name]) => name)
    } finally {
      get.mockRestore()
    }
  }

  it.each([
    [
      'with a typing error',
      MADE.key.slice(0, 40) + (MADE.key[40] === 'a' ? 'b' : 'a') + MADE.key.slice(41),
    ],
    ['with another checksum', `${MADE.key.slice(0, -6)}aaaaaa`],
    ['that is cut off', MADE.key.slice(0, -1)],
  ])('looks up no key %s', async (_name, key) => {
    expect(await lookedUp(key)).not.toContain(MADE.id)
  })

  it('looks up a key whose checksum fits', async () => {
    expect(await lookedUp(MADE.key)).toContain(MADE.id)
  })
})

describe('threat: a stolen key works after it was ended, or from anywhere', () => {
  it.each<[string, string, Partial<KeyRecord>]>([
    ['expired a moment ago', 'expired', { expiresAt: '2026-06-01T00:00:00Z' }],
    ['was revoked', 'revoked', { revokedAt: '2026-05-31T00:00:00Z' }],
    ['is marked revoked at a later time', 'revoked', { revokedAt: '2030-01-01T00:00:00Z' }],
    ['is not valid yet', 'not-yet-valid', { createdAt: '2026-06-01T00:01:01Z' }],
  ])('refuses a key that %s', async (_name, fault, record) => {
    expect(await faultOf(strategy(record), credential(MADE.key))).toBe(fault)
  })

  it.each<[string, Partial<KeyRecord>]>([
    ['expires in a second', { expiresAt: '2026-06-01T00:00:01Z' }],
    ['was made on a machine whose clock is a minute ahead', { createdAt: '2026-06-01T00:01:00Z' }],
  ])('lets a key through that %s', async (_name, record) => {
    await expect(strategy(record).verify(credential(MADE.key), NOW)).resolves.toBeDefined()
  })

  it('looks at the time on every request', async () => {
    const ways = strategy()
    const sent = credential(MADE.key)
    await expect(ways.verify(sent, NOW)).resolves.toBeDefined()
    expect(await faultOf(ways, sent, Date.parse(RECORD.expiresAt))).toBe('expired')
  })

  const bound = { allowedCidrs: ['10.0.0.0/8', '192.0.2.7/32', '2001:db8::/32'] }

  it.each([
    '10.0.0.1',
    '10.255.255.255',
    '192.0.2.7',
    '2001:db8::1',
    '::ffff:10.0.0.1',
    '::FFFF:a00:1',
  ])('lets a bound key through from %s', async (address) => {
    await expect(strategy(bound).verify(credential(MADE.key, address), NOW)).resolves.toBeDefined()
  })

  it.each([
    '11.0.0.1',
    '192.0.2.8',
    '2001:db9::1',
    '::ffff:11.0.0.1',
    '::10.0.0.1',
    '::1',
    '',
    'localhost',
    '10.0.0.1, 11.0.0.1',
  ])('refuses a bound key from %j', async (address) => {
    expect(await faultOf(strategy(bound), credential(MADE.key, address))).toBe('address')
  })

  it('says nothing of time or network to who does not have the secret', async () => {
    const forged = credential(withChecksum(`mcpk_${MADE.id}_${SECRET}`))
    const ended = { revokedAt: '2026-05-31T00:00:00Z', allowedCidrs: ['10.0.0.0/8'] }
    expect(await faultOf(strategy(ended), forged)).toBe('unknown')
  })
})

describe('threat: timing, an attacker learns a digest byte by byte from how long a refusal takes', () => {
  it('compares digests in constant time, and in no other way', () => {
    const file = new URL('../../src/auth/api-key.ts', import.meta.url)
    const source = readFileSync(file, 'utf8')
    expect(source).toMatch(/timingSafeEqual\(entry\?\.digest \?\? NO_DIGEST, /)
    expect(source).not.toMatch(
      /(?:digest|sha256)\S* *[!=]==|[!=]== *\S*(?:digest|sha256)|\.equals\(/,
    )
  })
})
