import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it, onTestFinished } from 'vitest'
import { CredentialFault } from '../../src/auth/strategy.ts'
import { Denied } from '../../src/errors.ts'
import type { Policies } from '../../src/policy.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, open, request } from './wire.ts'

setFlagsFromString('--expose-gc')
const gc: unknown = runInNewContext('gc')

/** Collects everything that only weak references hold. */
async function collectGarbage(): Promise<void> {
  if (typeof gc !== 'function') throw new Error('There is no garbage collection to ask for')
  for (let round = 0; round < 3; round += 1) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function endpoint(streamSeconds = 3600): Promise<Endpoint> {
  const started = await startEndpoint({
    policies: (shipped: Policies): Policies => ({
      ...shipped,
      limits: { ...shipped.limits, timeouts: { ...shipped.limits.timeouts, streamSeconds } },
    }),
  })
  onTestFinished(() => started[Symbol.asyncDispose]())
  return started
}

function listen(at: Endpoint, signal?: AbortSignal): Promise<Response> {
  const notifications = { toolsListChanged: true }
  const options = signal === undefined ? {} : { signal }
  return open(at, request('modern', 'subscriptions/listen', { notifications }), options)
}

describe('threat: a stream outlives what ends it, because its signal was garbage', () => {
  it('ends with its credential after a garbage collection', async () => {
    const at = await endpoint()
    const stream = await listen(at)
    await collectGarbage()
    at.lasting.holds.use({
      async recheck() {
        throw new Denied('authenticate.rejected', { cause: new CredentialFault('revoked') })
      },
      denies: () => false,
    })
    await at.lasting.holds.check()
    expect(await stream.text()).not.toContain('"result"')
  })

  it('ends at its age after a garbage collection', async () => {
    const at = await endpoint(1)
    const stream = await listen(at)
    await collectGarbage()
    expect(await stream.text()).not.toContain('"result"')
  })

  it('gives its place back when its client leaves after a garbage collection', async () => {
    const at = await endpoint()
    const client = new AbortController()
    const stream = await listen(at, client.signal)
    expect(stream.status).toBe(200)
    await collectGarbage()
    client.abort()
    await expect(stream.text()).rejects.toThrow()
    await expect.poll(() => at.audited.some(({ event }) => event === 'request')).toBe(true)
  })

  it('goes on after a garbage collection while nothing ends it', async () => {
    const at = await endpoint()
    const stream = await listen(at)
    await collectGarbage()
    await at.lasting.holds.check()
    at.lasting.changes.listsChanged()
    await at.drain(1)
    const text = await stream.text()
    expect(text).toContain('notifications/tools/list_changed')
    expect(text).toContain('"result"')
  })
})

describe('threat: a call outlives its caller, because its signal was garbage', () => {
  it('is cancelled when its client leaves after a garbage collection', async () => {
    const at = await endpoint()
    const client = new AbortController()
    const text = 'word '.repeat(1000)
    const documents = Array.from({ length: 50 }, (_, index) => ({ name: `${index}`, text }))
    const message = call('modern', 'process_documents', { documents })
    const stream = await open(at, message, { signal: client.signal })
    expect(stream.status).toBe(200)
    await collectGarbage()
    client.abort()
    await expect(stream.text()).rejects.toThrow()
    await expect
      .poll(() => at.outcomes().map(({ outcome }) => outcome), { timeout: 8000 })
      .toEqual(['cancelled'])
  })
})
