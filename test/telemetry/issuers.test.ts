// optional: oauth

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attempt } from '../identity/attempt.ts'
import { NOW, startTarget, type Target } from '../identity/target.ts'
import { scrape } from './scrape.ts'

describe('contract: issuers and their tokens in numbers', () => {
  let target: Target
  beforeAll(async () => {
    target = await startTarget()
  })
  afterAll(() => target[Symbol.asyncDispose]())

  const use = (token: string) =>
    attempt(target.server, { lines: [`Authorization: Bearer ${token}`] })

  it('says whether the keys of each issuer may be used, and how old they are', async () => {
    const { server, issuer, other } = target
    await use(target.token())
    const { total, samples } = await scrape(server)
    for (const { url } of [issuer, other]) {
      expect(total('gatehouse_key_set_usable', { issuer: url })).toBe(1)
      expect(total('gatehouse_key_set_changes_total', { issuer: url })).toBe(1)
      const age = total('gatehouse_key_set_age_seconds', { issuer: url })
      expect(age).toBeGreaterThan(0)
      expect(age).toBeLessThan(60)
    }
    expect(samples.filter(({ name }) => name === 'gatehouse_key_set_usable')).toHaveLength(2)
  })

  it('measures our clock against that of issuers, once for each verification (KEY-06)', async () => {
    const { server } = target
    const count = async (le: string): Promise<number> =>
      (await scrape(server)).total('token_iat_skew_seconds_bucket', { le })
    const [future, all] = [await count('-5'), await count('+Inf')]
    const early = target.token({ iat: NOW + 25, exp: NOW + 600, jti: 'early' })
    for (let index = 0; index < 3; index++) expect((await use(early)).status).toBe(200)
    expect(await count('-5')).toBe(future + 1)
    expect(await count('+Inf')).toBe(all + 1)
    await use(target.token({ jti: 'another' }))
    expect(await count('-5')).toBe(future + 1)
    expect(await count('+Inf')).toBe(all + 2)
  })

  it.each([
    [
      'signature',
      () => target.token().replace(/\.[\w-]+$/, target.token({ jti: 'x' }).replace(/.*(?=\.)/, '')),
    ],
    ['issuer', () => target.token({ iss: 'https://canary-issuer.example' })],
    ['expired', () => target.token({ iat: NOW - 900, exp: NOW - 600 })],
    ['not-yet-valid', () => target.token({ iat: NOW + 300 })],
  ])('counts tokens that do not verify by cause: %s', async (cause, token) => {
    const failures = async (): Promise<number> =>
      (await scrape(target.server)).total('gatehouse_authentication_failures_total', { cause })
    const before = await failures()
    expect((await use(token())).status).toBe(401)
    expect(await failures()).toBe(before + 1)
    expect((await scrape(target.server)).text).not.toMatch(/canary|user-1|client-1|early/)
  })
})
