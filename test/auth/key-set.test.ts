// optional: oauth
import { errors, exportJWK, generateKeyPair, type JWK } from 'jose'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createKeySet, type KeySet, type KeySetOptions } from '../../src/auth/key-set.ts'
import { CredentialFault } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
import { createOutbound, type Outbound, OutboundError } from '../../src/outbound.ts'
import { type TestClock, testClock } from '../clock.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'

const SECOND = 1000
const TIMES = { cacheSeconds: 600, cooldownSeconds: 30, staleIfErrorSeconds: 3600, timeoutMs: 1000 }

async function newKey(kid: string, alg = 'ES256'): Promise<JWK> {
  const { publicKey } = await generateKeyPair(alg, { extractable: true })
  return { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
}

let first: JWK
let second: JWK
beforeAll(async () => {
  first = await newKey('first')
  second = await newKey('second')
})

let issuer: TestServer
let time: TestClock
let changes: (readonly string[])[]
let failures: unknown[]
const open: KeySet[] = []

beforeEach(async () => {
  issuer = await httpServer(json({ keys: [first] }))
  time = testClock()
  changes = []
  failures = []
})
afterEach(async () => {
  for (const keys of open.splice(0)) keys.close()
  await issuer.down()
})

function keySet(
  options: Partial<KeySetOptions> = {},
  outbound: Pick<Outbound, 'json'> = createOutbound({ mode: 'development' }),
): KeySet {
  const failed = failures
  const keys = createKeySet(
    {
      issuer: issuer.origin,
      jwksUri: `${issuer.origin}/jwks`,
      algorithms: ['ES256', 'RS256', 'EdDSA'],
      ...TIMES,
      ...options,
    },
    outbound,
    time,
    (ids) => changes.push(ids),
    (error) => failed.push(error),
  )
  open.push(keys)
  return keys
}

/** Waits until no fetch is under way: each ends by setting the time of the next. */
async function settled(): Promise<void> {
  await vi.waitFor(() => expect(time.pending()).toBe(1), { interval: 1 })
}

/** What a token with this key id meets: `found`, or the name of its refusal. */
async function find(keys: KeySet, kid: string | undefined, alg = 'ES256'): Promise<string> {
  try {
    await keys.find({ alg, ...(kid !== undefined && { kid }) })
    return 'found'
  } catch (error) {
    if (error instanceof Denied) return `${error.reason} ${error.headers['retry-after']}`
    if (error instanceof CredentialFault) return error.fault
    throw error
  }
}

/** What went wrong in each fetch that failed. */
function faults(): readonly unknown[] {
  return failures.map((error) => (error instanceof OutboundError ? error.fault : error))
}

const broken = (status: number): TestServer['answer'] => {
  return (_request, response) => response.writeHead(status).end()
}

describe('contract: finding keys', () => {
  it('fetches before it is asked and finds the key', async () => {
    const keys = keySet()
    await settled()
    expect(keys.available()).toBe(true)
    expect(await find(keys, 'first')).toBe('found')
    expect(issuer.requests).toHaveLength(1)
    expect(failures).toEqual([])
  })

  it('lets callers wait for the first fetch', async () => {
    const keys = keySet()
    expect(keys.available()).toBe(false)
    expect(await find(keys, 'first')).toBe('found')
  })

  it('finds the key of a token that names none', async () => {
    expect(await find(keySet(), undefined)).toBe('found')
  })

  it('takes keys on loopback in development when policy names that place', async () => {
    expect(await find(keySet({ issuer: 'https://auth.example.com' }), 'first')).toBe('found')
  })

  it('says who changed, once, and voids what was verified before', async () => {
    const keys = keySet({ cacheSeconds: 40 })
    await settled()
    const generation = keys.generation()
    time.advance(30 * SECOND)
    await settled()
    expect(keys.generation()).toBe(generation)
    issuer.answer = json({ keys: [second, { ...first, kid: undefined }] })
    time.advance(30 * SECOND)
    await settled()
    expect(keys.generation()).toBe(generation + 1)
    expect(changes).toEqual([['first'], ['second', expect.stringMatching(/^[\w-]{43}$/)]])
  })

  it('takes the same keys in another order for the same set', async () => {
    issuer.answer = json({ keys: [first, second] })
    keySet({ cacheSeconds: 40 })
    await settled()
    issuer.answer = json({ keys: [second, first] })
    time.advance(30 * SECOND)
    await settled()
    expect(issuer.requests).toHaveLength(2)
    expect(changes).toHaveLength(1)
  })

  it('does nothing more after it is closed', async () => {
    const keys = keySet()
    await settled()
    keys.close()
    time.advance(3600 * SECOND)
    expect(time.pending()).toBe(0)
    expect(issuer.requests).toHaveLength(1)
  })

  it('does not begin again when it is closed during a fetch', async () => {
    const keys = keySet()
    keys.close()
    expect(await find(keys, 'first')).toBe('found')
    expect(time.pending()).toBe(0)
  })
})

describe('contract: rotation without a restart', () => {
  it('finds a new key within the cool-down', async () => {
    const keys = keySet()
    await settled()
    issuer.answer = json({ keys: [first, second] })
    time.advance(29 * SECOND)
    expect(await find(keys, 'second')).toBe('unknown')
    time.advance(SECOND)
    expect(await find(keys, 'second')).toBe('found')
    expect(await find(keys, 'first')).toBe('found')
  })

  it('refreshes in the background, before the cache ends, without a request', async () => {
    const keys = keySet()
    await settled()
    issuer.answer = json({ keys: [second] })
    time.advance(450 * SECOND)
    await settled()
    expect(await find(keys, 'second')).toBe('found')
    expect(await find(keys, 'first')).toBe('unknown')
    expect(issuer.requests).toHaveLength(2)
  })

  it('never uses a removed key past the cache time, even if the background is late', async () => {
    const { after } = time
    time.after = (_delayMs, run) => after(Number.POSITIVE_INFINITY, run)
    const keys = keySet()
    await settled()
    issuer.answer = json({ keys: [second] })
    time.advance(599 * SECOND)
    expect(await find(keys, 'first')).toBe('found')
    time.advance(SECOND)
    expect(await find(keys, 'first')).toBe('unknown')
  })
})

describe('threat: a flood of unknown key ids, this server is turned against the issuer', () => {
  it('fetches once for 100 at the same time', async () => {
    const keys = keySet()
    await settled()
    time.advance(30 * SECOND)
    const all = await Promise.all(Array.from({ length: 100 }, (_, n) => find(keys, `unknown-${n}`)))
    expect(new Set(all)).toEqual(new Set(['unknown']))
    expect(issuer.requests).toHaveLength(2)
  })

  it('fetches at most once in a cool-down for 100 in a row', async () => {
    const keys = keySet()
    await settled()
    for (let n = 0; n < 100; n++) {
      time.advance(SECOND)
      expect(await find(keys, `unknown-${n}`)).toBe('unknown')
    }
    expect(issuer.requests).toHaveLength(1 + 3)
    expect(await find(keys, 'first')).toBe('found')
  })

  it('never fetches twice at the same time, however slow the issuer is', async () => {
    const keys = keySet({ cooldownSeconds: 1 })
    await settled()
    let answerNow = (): void => undefined
    issuer.answer = (request, response) => {
      answerNow = () => json({ keys: [first] })(request, response)
    }
    const waiting: Promise<string>[] = []
    for (let n = 0; n < 5; n++) {
      time.advance(2 * SECOND)
      waiting.push(find(keys, `unknown-${n}`))
      await vi.waitFor(() => expect(issuer.requests).toHaveLength(2), { interval: 1 })
    }
    expect(issuer.requests).toHaveLength(2)
    answerNow()
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['unknown']))
  })

  it('counts failed fetches as well', async () => {
    const keys = keySet()
    await settled()
    issuer.answer = broken(500)
    time.advance(30 * SECOND)
    for (let n = 0; n < 20; n++) {
      expect(await find(keys, `unknown-${n}`)).toBe('authenticate.keys-unavailable 30')
    }
    expect(issuer.requests).toHaveLength(2)
  })

  it.each(['__proto__', 'constructor', 'toString', '../jwks', 'first\u0000', 'FIRST', ''])(
    'does not find the key id %j',
    async (kid) => {
      expect(await find(keySet(), kid)).toBe('unknown')
    },
  )
})

describe('threat: an outage of the issuer, it locks everybody out or lets anybody in', () => {
  it('uses the last set until its last moment, then answers 503, and recovers', async () => {
    const keys = keySet()
    await settled()
    await issuer.down()

    for (let minute = 1; minute < 70; minute++) {
      time.advance(60 * SECOND)
      await settled()
      expect(await find(keys, 'first')).toBe('found')
    }
    expect(keys.available()).toBe(true)
    time.advance(60 * SECOND)
    await settled()
    expect(keys.available()).toBe(false)
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable \d+$/)

    await issuer.up()
    time.advance(30 * SECOND)
    await settled()
    expect(await find(keys, 'first')).toBe('found')
    expect(keys.available()).toBe(true)
  })

  it('does not make callers wait for a fetch while the last set is good', async () => {
    const keys = keySet({ timeoutMs: 60_000 })
    await settled()
    await issuer.down()
    time.advance(450 * SECOND)
    await settled()
    await issuer.up()
    issuer.answer = () => undefined
    time.advance(300 * SECOND)
    expect(time.pending()).toBe(0)
    expect(await find(keys, 'first')).toBe('found')
  })

  it('tries again in the background once in a cool-down, never more', async () => {
    issuer.answer = broken(503)
    const keys = keySet()
    await settled()
    for (let n = 0; n < 10; n++) expect(await find(keys, 'first')).toMatch(/unavailable 30$/)
    expect(issuer.requests).toHaveLength(1)
    time.advance(30 * SECOND)
    await settled()
    expect(issuer.requests).toHaveLength(2)
    expect(faults()).toEqual(['status', 'status'])
  })

  it('says when to come back', async () => {
    issuer.answer = broken(503)
    const keys = keySet()
    await settled()
    time.advance(10_500)
    expect(await find(keys, 'first')).toBe('authenticate.keys-unavailable 20')
  })

  it('answers 503, not 401, for a key that may be new while the issuer is down', async () => {
    const keys = keySet()
    await settled()
    await issuer.down()
    time.advance(450 * SECOND)
    await settled()
    expect(await find(keys, 'new')).toMatch(/^authenticate\.keys-unavailable/)
    expect(await find(keys, 'first')).toBe('found')
    await issuer.up()
  })

  it('gives up on a slow issuer', async () => {
    issuer.answer = () => undefined
    expect(await find(keySet({ timeoutMs: 50 }), 'first')).toMatch(
      /^authenticate\.keys-unavailable/,
    )
  })

  it.each([
    ['back', -1e12],
    ['forward', 1e12],
  ])('takes no notice when the wall clock jumps %s', async (_name, jumpMs) => {
    vi.useFakeTimers({ toFake: ['Date'], now: 0 })
    try {
      const keys = keySet()
      await settled()
      await issuer.down()
      time.advance(450 * SECOND)
      await settled()
      vi.setSystemTime(jumpMs)
      time.advance(3750 * SECOND - 1)
      await settled()
      expect(await find(keys, 'first')).toBe('found')
      time.advance(1)
      expect(keys.available()).toBe(false)
      expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable/)
      await issuer.up()
    } finally {
      vi.useRealTimers()
    }
  })

  it.each<[string, TestServer['answer']]>([
    ['answers 503', broken(503)],
    ['answers 404', broken(404)],
    ['breaks off', (_request, response) => response.destroy()],
    ['redirects', (_request, response) => response.writeHead(302, { location: '/' }).end()],
    ['serves a page', (_request, response) => response.end('<html></html>')],
    ['serves a set without a list', json({})],
  ])('survives an hour in which it %s, and fetches once in a cool-down', async (_name, answer) => {
    const keys = keySet()
    await settled()
    issuer.answer = answer
    const refreshAt = 450
    const lastUse = 600 + 3600
    time.advance(refreshAt * SECOND)
    await settled()
    for (let at = refreshAt + 15; at < lastUse; at += 15) {
      time.advance(15 * SECOND)
      await settled()
      expect(await find(keys, 'first')).toBe('found')
      expect(await find(keys, `new-${at}`)).toMatch(
        /^authenticate\.keys-unavailable (\d|[12]\d|30)$/,
      )
    }
    expect(issuer.requests).toHaveLength(1 + (lastUse - refreshAt) / 30)
    expect(failures).toHaveLength((lastUse - refreshAt) / 30)

    time.advance(15 * SECOND - 1)
    expect(keys.available()).toBe(true)
    time.advance(1)
    await settled()
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable (\d|[12]\d|30)$/)
    expect(keys.available()).toBe(false)

    issuer.answer = json({ keys: [first] })
    time.advance(30 * SECOND)
    expect(await find(keys, 'first')).toBe('found')
    expect(await find(keys, 'new')).toBe('unknown')
    expect(changes).toEqual([['first']])
  })

  it('voids what was verified when no keys may be used any more', async () => {
    const keys = keySet()
    expect(keys.generation()).toBeNaN()
    await settled()
    expect(keys.generation()).toBe(1)
    await issuer.down()
    time.advance(4199 * SECOND)
    await settled()
    expect(keys.generation()).toBe(1)
    time.advance(SECOND)
    expect(keys.generation()).toBeNaN()
    await issuer.up()
    time.advance(30 * SECOND)
    await settled()
    expect(keys.generation()).toBe(1)
  })

  it('gives up when metadata and keys together take too long', async () => {
    const slowly: TestServer['answer'] = (request, response) => {
      const document =
        request.url === '/jwks'
          ? { keys: [first] }
          : { issuer: issuer.origin, jwks_uri: `${issuer.origin}/jwks` }
      setTimeout(() => json(document)(request, response), 300)
    }
    issuer.answer = slowly
    const keys = keySet({ jwksUri: null, timeoutMs: 400 })
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable/)
    expect(issuer.requests.map(({ url }) => url)).toContain('/jwks')
    expect(faults()).toEqual(['timeout'])
  })
})

describe('threat: server-side request forgery, the place of keys is inside our network', () => {
  /** Every name has these addresses, one after the other; the last one stays. */
  function resolving(...addresses: readonly string[]): Outbound {
    const left = [...addresses]
    return createOutbound({
      mode: 'development',
      async resolve() {
        const address = left.length > 1 ? left.shift() : left[0]
        return [{ address: address ?? '', family: address?.includes(':') ? 6 : 4 }]
      },
    })
  }

  it.each([
    '10.0.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '192.168.1.1',
    '100.100.100.200',
    '::1',
    'fd00::1',
    'fe80::1',
    '::ffff:10.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::a9fe:a9fe',
  ])('refuses an issuer whose name resolves to %s', async (address) => {
    const options = { issuer: 'https://issuer.example', jwksUri: null }
    const keys = keySet(options, resolving(address))
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable/)
    expect(faults()).toEqual(['address'])
  })

  it('refuses the second answer of a name that was good at first (DNS rebinding)', async () => {
    const jwksUri = `http://localhost:${issuer.port}/jwks`
    const keys = keySet({ jwksUri }, resolving('127.0.0.1', '169.254.169.254'))
    await settled()
    expect(await find(keys, 'first')).toBe('found')
    time.advance(450 * SECOND)
    await settled()
    expect(faults()).toEqual(['address'])
    expect(issuer.requests).toHaveLength(1)
    expect(await find(keys, 'first')).toBe('found')
  })

  it('does not let an issuer elsewhere name a place on this machine', async () => {
    const asked: [string, boolean][] = []
    const elsewhere: Pick<Outbound, 'json'> = {
      async json(url, { allowLoopback }) {
        asked.push([url, allowLoopback])
        return { issuer: 'https://issuer.example', jwks_uri: `${issuer.origin}/jwks` }
      },
    }
    await find(keySet({ issuer: 'https://issuer.example', jwksUri: null }, elsewhere), 'first')
    expect(asked.map(([, allowed]) => allowed)).toEqual([false, false])
  })
})

describe('threat: an issuer that lies, keys come from somewhere else or prove nothing', () => {
  it.each<[string, unknown]>([
    ['no list', {}],
    ['a list that is an object', { keys: { 0: 'key' } }],
    ['null', null],
    ['65 keys', { keys: Array.from({ length: 65 }, () => ({})) }],
    ['more than 256 KiB', { keys: [], padding: 'x'.repeat(262_144) }],
  ])('keeps the last set when it gets %s', async (_name, document) => {
    const keys = keySet()
    await settled()
    issuer.answer = json(document)
    time.advance(450 * SECOND)
    await settled()
    expect(issuer.requests).toHaveLength(2)
    expect(await find(keys, 'first')).toBe('found')
    expect(changes).toHaveLength(1)
  })

  it('lets 64 keys through, and ignores what it does not understand among them', async () => {
    issuer.answer = json({ keys: [null, 1, 'key', [], ...Array(59).fill({ kty: 'EC' }), first] })
    expect(await find(keySet(), 'first')).toBe('found')
    expect(changes).toEqual([['first']])
  })

  it('takes an empty set for an answer: nobody is let in, and it is 503', async () => {
    const keys = keySet()
    await settled()
    issuer.answer = json({ keys: [] })
    time.advance(450 * SECOND)
    await settled()
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable/)
    expect(keys.available()).toBe(false)
    expect(changes).toEqual([['first'], []])
  })

  it.each<[string, () => Promise<JWK> | JWK]>([
    ['is symmetric', () => ({ kty: 'oct', k: 'c2VjcmV0', alg: 'ES256' })],
    ['is meant for encryption', () => ({ ...first, use: 'enc' })],
    ['may not verify', () => ({ ...first, key_ops: ['sign'] })],
    ['names another algorithm', () => ({ ...first, alg: 'ECDH-ES' })],
    ['names an algorithm that policy does not list', () => newKey('bad', 'ES384')],
    ['names a symmetric algorithm', () => ({ ...first, alg: 'HS256' })],
    ['shows its private part', () => ({ ...first, d: 'c2VjcmV0' })],
    ['is not on its curve', () => ({ ...first, x: first.y ?? '' })],
    ['has no curve', () => ({ kty: 'EC', alg: 'ES256' })],
    ['has a number for an id', () => JSON.parse(JSON.stringify({ ...first, kid: 1 }))],
  ])('ignores a key that %s', async (_name, bad) => {
    issuer.answer = json({ keys: [{ ...(await bad()), kid: (await bad()).kid ?? 'bad' }, second] })
    const keys = keySet()
    expect(await find(keys, 'second')).toBe('found')
    expect(changes).toEqual([['second']])
  })

  it('ignores RSA keys below 2048 bits and with a tiny exponent, and takes a good one', async () => {
    const good = await newKey('good', 'RS256')
    const weak = { ...good, kid: 'weak', n: good.n?.slice(0, 170) }
    const tiny = { ...good, kid: 'tiny', e: 'Aw' }
    issuer.answer = json({ keys: [weak, tiny, good] })
    const keys = keySet()
    expect(await find(keys, 'good', 'RS256')).toBe('found')
    expect(changes).toEqual([['good']])
  })

  it('drops certificates and addresses that a key brings along', async () => {
    const url = `${issuer.origin}/other`
    issuer.answer = json({ keys: [{ ...first, x5u: url, x5c: ['MIIB'], jku: url }] })
    expect(await find(keySet(), 'first')).toBe('found')
    expect(issuer.requests.map((request) => request.url)).toEqual(['/jwks'])
  })

  it.each([[['verify', 'sign']], [['verify', 'encrypt']], [['verify', 'verify']]])(
    'verifies, and nothing else, with a key of the key operations %j',
    async (key_ops) => {
      issuer.answer = json({ keys: [{ ...first, key_ops }] })
      expect(await find(keySet(), 'first')).toBe('found')
    },
  )

  it('tries each key of an id that is there twice', async () => {
    issuer.answer = json({ keys: [first, { ...second, kid: 'first' }] })
    const keys = keySet()
    const error = await keys.find({ alg: 'ES256', kid: 'first' }).catch((caught: unknown) => caught)
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    const found: unknown[] = []
    for await (const key of error) found.push((await exportJWK(key)).x)
    expect(found).toEqual([first.x, second.x])
  })

  it('does not follow a redirect', async () => {
    issuer.answer = (request, response) => {
      if (request.url === '/jwks') response.writeHead(302, { location: '/other' }).end()
      else json({ keys: [first] })(request, response)
    }
    expect(await find(keySet(), 'first')).toMatch(/^authenticate\.keys-unavailable/)
    expect(issuer.requests).toHaveLength(1)
  })
})

describe('contract: discovery', () => {
  /** Serves these documents and 404 for the rest. */
  function serve(documents: Readonly<Record<string, unknown>>): void {
    const routes = new Map(Object.entries(documents))
    issuer.answer = (request, response) => {
      const document = routes.get(request.url ?? '')
      if (document === undefined) response.writeHead(404).end()
      else json(document)(request, response)
    }
  }
  const paths = (): (string | undefined)[] => issuer.requests.map((request) => request.url)

  it.each([
    ['without a path', '', '/.well-known/oauth-authorization-server'],
    ['with a slash', '/', '/.well-known/oauth-authorization-server'],
    ['with a path', '/tenant', '/.well-known/oauth-authorization-server/tenant'],
    ['with a path and a slash', '/tenant/', '/.well-known/oauth-authorization-server/tenant'],
  ])('asks at the place of RFC 8414 for an issuer %s', async (_name, path, wellKnown) => {
    const name = `${issuer.origin}${path}`
    serve({
      [wellKnown]: { issuer: name, jwks_uri: `${issuer.origin}/keys` },
      '/keys': { keys: [first] },
    })
    expect(await find(keySet({ issuer: name, jwksUri: null }), 'first')).toBe('found')
    expect(paths()).toEqual([wellKnown, '/keys'])
  })

  it('asks at the place of OpenID Connect next', async () => {
    const name = `${issuer.origin}/tenant`
    serve({
      '/tenant/.well-known/openid-configuration': {
        issuer: name,
        jwks_uri: `${issuer.origin}/keys`,
      },
      '/keys': { keys: [first] },
    })
    expect(await find(keySet({ issuer: name, jwksUri: null }), 'first')).toBe('found')
    expect(paths()).toHaveLength(3)
  })

  it.each<[string, TestServer['answer']]>([
    ['an error', broken(400)],
    ['the way to a login page', (_q, response) => response.writeHead(302, { location: '/' }).end()],
    ['a page', (_request, response) => response.end('<html></html>')],
  ])('goes on to the place of OpenID Connect after %s', async (_name, nothing) => {
    const routes = new Map([
      [
        '/.well-known/openid-configuration',
        json({ issuer: issuer.origin, jwks_uri: `${issuer.origin}/keys` }),
      ],
      ['/keys', json({ keys: [first] })],
    ])
    issuer.answer = (request, response) =>
      (routes.get(request.url ?? '') ?? nothing)(request, response)
    expect(await find(keySet({ jwksUri: null }), 'first')).toBe('found')
    expect(paths()).toHaveLength(3)
  })

  it('asks nowhere else when the first place does not answer', async () => {
    issuer.answer = (_request, response) => response.destroy()
    const keys = keySet({ jwksUri: null })
    expect(await find(keys, 'first')).toMatch(/^authenticate\.keys-unavailable/)
    expect(paths()).toHaveLength(1)
  })

  it.each<[string, (origin: string) => unknown]>([
    ['names another issuer', () => 'https://evil.example'],
    ['adds a slash to the issuer', (origin) => `${origin}/`],
    ['names the issuer in a list', (origin) => [origin]],
    ['names no issuer', () => undefined],
  ])('threat: mix-up, refuses a document that %s', async (_name, claimed) => {
    serve({
      '/.well-known/oauth-authorization-server': {
        issuer: claimed(issuer.origin),
        jwks_uri: `${issuer.origin}/keys`,
      },
      '/keys': { keys: [first] },
    })
    expect(await find(keySet({ jwksUri: null }), 'first')).toMatch(
      /^authenticate\.keys-unavailable/,
    )
    expect(paths()).toEqual(['/.well-known/oauth-authorization-server'])
  })

  it.each([
    ['a private address', 'https://10.0.0.1/keys'],
    ['cloud metadata', 'http://169.254.169.254/latest'],
    ['cloud metadata over https', 'https://169.254.169.254/latest'],
    ['a unique local address', 'https://[fd00::1]/keys'],
    ['a mapped private address', 'https://[::ffff:10.0.0.1]/keys'],
    ['an address as a number', 'https://2852039166/latest'],
    ['loopback behind a user', 'http://issuer.example@127.0.0.1/keys'],
    ['a file', 'file:///etc/passwd'],
  ])('threat: request forgery, refuses keys at %s', async (_name, uri) => {
    serve({
      '/.well-known/oauth-authorization-server': { issuer: issuer.origin, jwks_uri: uri },
    })
    expect(await find(keySet({ jwksUri: null }), 'first')).toMatch(
      /^authenticate\.keys-unavailable/,
    )
  })

  it('is unavailable when there is no document at all', async () => {
    serve({})
    expect(await find(keySet({ jwksUri: null }), 'first')).toMatch(
      /^authenticate\.keys-unavailable/,
    )
    expect(paths()).toHaveLength(2)
  })
})
