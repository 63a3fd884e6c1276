import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, type Era, open, request } from './wire.ts'

const silent = defineTool({
  name: 'silent',
  title: 'Silent',
  description: 'Works for a long time and says nothing.',
  annotations: {},
  input: z.strictObject({}),
  output: z.strictObject({}),
  longRunning: true,
  async run(_input, { signal }) {
    await sleep(600_000, undefined, { signal })
    return {}
  },
})

let endpoint: Endpoint
beforeEach(async () => {
  endpoint = await startEndpoint({ catalog: { tools: [silent] } })
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(async () => {
  vi.useRealTimers()
  await endpoint[Symbol.asyncDispose]()
})

describe('threat: a proxy cuts an answer on which nothing is said', () => {
  it.each<[string, Era, object]>([
    ['a long call, modern era', 'modern', call('modern', 'silent')],
    ['a long call, legacy era', 'legacy', call('legacy', 'silent')],
    [
      'a stream',
      'modern',
      request('modern', 'subscriptions/listen', { notifications: { toolsListChanged: true } }),
    ],
  ])('says something every 15 seconds: %s', async (_name, era, message) => {
    const client = new AbortController()
    const response = await open(endpoint, message, { era, signal: client.signal })
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let heard = ''
    const hears = async (count: number): Promise<void> => {
      while (heard.split(': keepalive\n\n').length <= count) {
        const next = await reader?.read()
        if (next?.value === undefined) throw new Error('It has ended')
        heard += next.value
      }
    }
    for (let count = 1; count <= 3; count++) {
      vi.advanceTimersByTime(14_999)
      vi.advanceTimersByTime(1)
      await hears(count)
    }
    expect(heard.split(': keepalive')).toHaveLength(4)
    client.abort()
  })
})
