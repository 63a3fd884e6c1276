import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { defineTool, ToolError } from '../../src/define.ts'
import { startEndpoint } from './endpoint.ts'
import { call, request, send } from './wire.ts'

const CALLS = 2000
const AT_ONCE = 25

/** What the calls were given, as long as something holds on to it. */
const given: WeakRef<object>[] = []
const observed = defineTool({
  name: 'observed',
  title: 'Observed',
  description: 'Notes what it is given, and fails every third time.',
  annotations: {},
  input: z.strictObject({}),
  output: z.strictObject({}),
  longRunning: false,
  async run(_input, context) {
    given.push(new WeakRef(context), new WeakRef(context.signal))
    context.signal.addEventListener('abort', () => {})
    context.progress(1)
    if (given.length % 6 === 0) throw new ToolError('The third one.')
    return {}
  },
})

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

function listenerCounts(emitter: NodeJS.EventEmitter): Record<string, number> {
  const names = emitter.eventNames().map((name) => [String(name), emitter.listenerCount(name)])
  return Object.fromEntries(names)
}

const timers = (): number =>
  process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout').length

it(`contract: ${CALLS} calls leave nothing behind`, { timeout: 60_000 }, async () => {
  await using endpoint = await startEndpoint({ catalog: { tools: [observed] } })
  const warnings: string[] = []
  const warn = (warning: Error): void => void warnings.push(warning.name)
  process.on('warning', warn)

  const messages = (['modern', 'legacy'] as const).flatMap((era) => [
    { era, message: call(era, 'observed') },
    { era, message: call(era, 'observed', {}, { progressToken: 'p' }) },
    { era, message: call(era, 'observed', { canary: 1 }) },
    { era, message: request(era, 'resources/list') },
    { era, message: request(era, 'resources/read', { uri: 'report://AAAAAAAAAAAAAAAAAAAAAA' }) },
  ])
  const batch = (): Promise<unknown> =>
    Promise.all(
      Array.from({ length: AT_ONCE }, async (_, index) => {
        const { era, message } = messages[index % messages.length] ?? { message: {} }
        await send(endpoint, message, { subject: `caller-${index % 20}`, ...(era && { era }) })
      }),
    )
  await batch()
  const before = {
    server: listenerCounts(endpoint.server),
    process: listenerCounts(process),
    timers: timers(),
  }
  for (let done = 0; done < CALLS; done += AT_ONCE) await batch()

  expect(endpoint.lasting.calls.running()).toBe(0)
  expect(listenerCounts(endpoint.server)).toEqual(before.server)
  expect(listenerCounts(process)).toEqual(before.process)
  expect(timers()).toBeLessThanOrEqual(before.timers + AT_ONCE)
  expect(warnings).toEqual([])
  process.off('warning', warn)

  await new Promise((resolve) => setImmediate(resolve))
  collectGarbage()
  expect(given.length).toBeGreaterThan(CALLS / 2)
  const held = given.filter((reference) => reference.deref() !== undefined)
  expect(held.length).toBeLessThan(AT_ONCE * 4)
})
