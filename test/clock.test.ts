import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../src/clock.ts'

describe('threat: the wall clock is set back, what has ended lives on', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each([
    ['back', -86_400_000],
    ['forward', 86_400_000],
  ])('takes no notice when it is set %s by a day', (_name, byMs) => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const before = systemClock.now()
    vi.setSystemTime(Date.now() + byMs)
    const passedMs = systemClock.now() - before
    expect(passedMs).toBeGreaterThanOrEqual(0)
    expect(passedMs).toBeLessThan(10_000)
  })
})
