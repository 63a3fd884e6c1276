import { describe, expect, it } from 'vitest'
import type { Shortage } from '../../src/load.ts'
import { testApp } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

describe('threat: more work than there is room for, every call fails instead of the last ones', () => {
  it.each(['event-loop', 'memory'] as const)(
    'refuses while there is too little %s, before it does anything',
    async (lacking) => {
      let shortage: Shortage | undefined = lacking
      const app = testApp({ shortage: () => shortage })
      const response = await app.send()
      expectRefused(app, response, 503, `overload.${lacking}`)
      expect(response.headers.get('retry-after')).toBe('5')
      expect(response.bodyRead).toBe(false)
      expect(app.verified()).toBe(0)

      shortage = undefined
      expectServed(await app.send())
    },
  )

  it('refuses strangers, preflights and public documents alike', async () => {
    const app = testApp({ shortage: () => 'event-loop' })
    const headers = { authorization: null }
    for (const request of [
      { headers },
      { method: 'OPTIONS', headers },
      { method: 'GET', target: '/.well-known/oauth-protected-resource', headers },
    ]) {
      expectRefused(app, await app.send(request), 503, 'overload.event-loop')
    }
  })

  it('lets calls go on that have begun', async () => {
    let shortage: Shortage | undefined
    const app = testApp({ shortage: () => shortage })
    const held = await app.open()
    shortage = 'memory'
    expectServed(await held.end())
    expectRefused(app, await app.send(), 503, 'overload.memory')
  })

  it('looks at the wire first, and counts nothing against an address', async () => {
    let shortage: Shortage | undefined = 'memory'
    const app = testApp({
      shortage: () => shortage,
      policies: (shipped) => {
        const address = { ...shipped.limits.address, requestsPerMinute: 1 }
        return { ...shipped, limits: { ...shipped.limits, address } }
      },
    })
    const stranger = { headers: { authorization: null } }
    const old = await app.send({ ...stranger, httpVersion: '1.0' })
    expectRefused(app, old, 400, 'wire-guard.http-version')
    for (let count = 0; count < 3; count += 1) {
      expectRefused(app, await app.send(stranger), 503, 'overload.memory')
    }
    shortage = undefined
    expectRefused(app, await app.send(stranger), 401, 'authenticate.missing')
    expectRefused(app, await app.send(stranger), 429, 'address-limit.exceeded')
  })
})
