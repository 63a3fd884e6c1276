import { describe, expect, it } from 'vitest'
import { concurrencyHeaders, rateLimitHeaders } from '../src/rate-limit-headers.ts'

describe('contract: the headers of a 429', () => {
  it.each(['address', 'address-auth', 'principal', 'tool'] as const)(
    'names the limit %s',
    (name) => {
      expect(rateLimitHeaders(name, 600, 60, { remaining: 0, resetSeconds: 12 })).toEqual({
        'retry-after': '12',
        'ratelimit-policy': `"${name}";q=600;w=60`,
        ratelimit: `"${name}";r=0;t=12`,
      })
    },
  )

  it('names a limit of calls at the same time by its unit', () => {
    expect(concurrencyHeaders('tool', 4)).toEqual({
      'retry-after': '1',
      'ratelimit-policy': '"tool";q=4;qu="concurrent-requests"',
      ratelimit: '"tool";r=0;t=1',
    })
  })

  it.each([
    ['a window that ends now', 0, '1'],
    ['a window that has ended', -1, '1'],
    ['one second', 1, '1'],
    ['a whole window', 60, '60'],
  ])('never asks to come back at once: %s', (_name, resetSeconds, seconds) => {
    const headers = rateLimitHeaders('tool', 1, 60, { remaining: 0, resetSeconds })
    expect(headers['retry-after']).toBe(seconds)
    expect(headers['ratelimit']).toBe(`"tool";r=0;t=${seconds}`)
  })
})
