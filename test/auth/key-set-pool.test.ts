// optional: oauth
import { generateKeyPairSync } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createKeySet, type KeySetOptions } from '../../src/auth/key-set.ts'
import { type KeySetPool, keySetPool } from '../../src/auth/key-set-pool.ts'
import { createOutbound } from '../../src/outbound.ts'
import { type TestClock, testClock } from '../clock.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const KEYS = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'first', alg: 'ES256' }] }

let issuer: TestServer
let time: TestClock
let made: number
let pool: KeySetPool

beforeEach(async () => {
  issuer = await httpServer(json(KEYS))
  time = testClock()
  made = 0
  pool = keySetPool((options) => {
    made += 1
    const outbound = createOutbound({ mode: 'development' })
    const nothing = (): void => undefined
    return createKeySet(options, outbound, time, nothing, nothing)
  })
})
afterEach(() => issuer.down())

function source(changes: Partial<KeySetOptions> = {}): KeySetOptions {
  return {
    issuer: issuer.origin,
    jwksUri: `${issuer.origin}/jwks`,
    algorithms: ['ES256'],
    cacheSeconds: 600,
    cooldownSeconds: 30,
    staleIfErrorSeconds: 3600,
    timeoutMs: 1000,
    ...changes,
  }
}

/** Waits until no fetch is under way: each ends by setting the time of the next. */
async function settled(sets = 1): Promise<void> {
  await vi.waitFor(() => expect(time.pending()).toBe(sets), { interval: 1 })
}

describe('contract: key sets outlive a reload', () => {
  it('hands the same set to the next holder, with its keys and without another fetch', async () => {
    const before = pool.take(source())
    await settled()
    const after = pool.take(source())
    before.close()
    await issuer.down()
    expect(after.available()).toBe(true)
    expect(after.generation()).toBe(before.generation())
    await expect(after.find({ alg: 'ES256', kid: 'first' })).resolves.toBeDefined()
    expect(made).toBe(1)
    expect(issuer.requests).toHaveLength(1)
    await issuer.up()
    after.close()
  })

  it('does not look at what is not about the source', async () => {
    const first = pool.take({ ...source(), ...{ why: 'one reason', tokenTypes: ['at+jwt'] } })
    const second = pool.take({ ...source(), ...{ why: 'another', tokenTypes: ['JWT'] } })
    expect(made).toBe(1)
    first.close()
    second.close()
  })

  it.each<[string, Partial<KeySetOptions>]>([
    ['issuer', { issuer: 'https://other.example.com' }],
    ['place', { jwksUri: null }],
    ['algorithms', { algorithms: ['ES256', 'RS256'] }],
    ['cache time', { cacheSeconds: 300 }],
    ['cool-down', { cooldownSeconds: 10 }],
    ['time past an outage', { staleIfErrorSeconds: 0 }],
    ['timeout', { timeoutMs: 500 }],
  ])('makes another one for another %s', (_name, changes) => {
    const sets = [pool.take(source()), pool.take(source(changes))]
    expect(made).toBe(2)
    for (const keys of sets) keys.close()
  })

  it('goes on while anybody holds it, and ends with the last', async () => {
    const first = pool.take(source())
    const second = pool.take(source())
    await settled()
    first.close()
    first.close()
    expect(time.pending()).toBe(1)
    second.close()
    expect(time.pending()).toBe(0)
  })

  it('is available while every set that is held has keys', async () => {
    expect(pool.available()).toBe(true)
    const good = pool.take(source())
    await settled()
    expect(pool.available()).toBe(true)
    const bad = pool.take(source({ jwksUri: 'http://10.0.0.1/jwks' }))
    await settled(2)
    expect(pool.available()).toBe(false)
    bad.close()
    expect(pool.available()).toBe(true)
    good.close()
  })

  it('begins anew after the last holder has left', async () => {
    pool.take(source()).close()
    const next = pool.take(source())
    await settled()
    expect(made).toBe(2)
    expect(next.available()).toBe(true)
    next.close()
  })
})
