import { describe, expect, it } from 'vitest'
import type { LogFields } from '../src/log.ts'
import { watchStalls } from '../src/stalls.ts'
import { testClock } from './clock.ts'

const call = { requestId: 'request-1', name: 'slow', trace: undefined }
const other = { ...call, requestId: 'request-2', name: 'other' }

/** How long each turn takes besides its 100 ms, and what the process uses meanwhile, ms. */
function logged(turns: readonly (readonly [stalledMs: number, cpuMs: number])[]): LogFields[] {
  const clock = testClock()
  const lines: LogFields[] = []
  let used = 0
  watchStalls({
    clock,
    calls: { seen: () => [call, other] },
    logger: { warn: (_message, fields = {}) => void lines.push(fields) },
    cpuMs: () => used,
  })
  for (const [stalledMs, cpuMs] of turns) {
    used += cpuMs
    clock.advance(100 + stalledMs)
  }
  return lines
}

describe('threat: a tool blocks the event loop, and nobody knows which', () => {
  const named = (count: number): object[] => [
    { requestId: 'request-1', tool: 'slow', reason: 'blocked-loop', count },
    { requestId: 'request-2', tool: 'other', reason: 'blocked-loop', count },
  ]

  it.each<[string, [number, number][], object[]]>([
    ['half a second', [[500, 500]], named(500)],
    ['a little less', [[499, 499]], []],
    [
      'half a second in two turns',
      [
        [250, 250],
        [250, 250],
      ],
      [],
    ],
    ['half a second, half of it for others on this machine', [[500, 250]], named(500)],
    ['half a second in which it did less', [[500, 249]], []],
    ['a pause of the whole machine', [[60_000, 1]], []],
    [
      'half a second, again and again',
      [
        [500, 500],
        [900, 900],
      ],
      named(500),
    ],
  ])('names each call that ran, once, when a turn took %s', (_name, turns, lines) => {
    expect(logged(turns)).toMatchObject(lines)
    expect(logged(turns)).toHaveLength(lines.length)
  })
})
