import { z } from 'zod'
import { defineTool, LOG_LEVELS, type Tool } from '../../../src/define.ts'

const base = { annotations: {}, input: z.strictObject({}), longRunning: false } as const

/** Tools that show what a session does. `next` lets one `step` of one call go on. */
export interface SessionTools {
  readonly tools: readonly Tool[]
  /** Lets each call of `steps` that runs report its next step, or end after its third. */
  next(): void
  /** Lets all calls of `steps` end. */
  finish(): void
  /** Reasons of the calls of `steps` that were told to stop. */
  readonly stopped: unknown[]
}

export function sessionTools(): SessionTools {
  const waiting = new Set<() => void>()
  const stopped: unknown[] = []
  let isFree = false
  const output = z.strictObject({ said: z.string() })
  return {
    stopped,
    next() {
      for (const go of waiting) go()
    },
    finish() {
      isFree = true
      for (const go of waiting) go()
    },
    tools: [
      defineTool({
        ...base,
        name: 'steps',
        title: 'Steps',
        description: 'Reports three steps, each when it is told to.',
        output,
        async run(_input, { signal, progress, log }) {
          for (let step = 1; step <= 3; step++) {
            const { promise, resolve, reject } = Promise.withResolvers<void>()
            signal.addEventListener('abort', () => reject(signal.reason), { once: true })
            waiting.add(resolve)
            if (isFree) resolve()
            progress(step, 3, `step ${step}`)
            log('info', `step ${step}`)
            await promise
              .catch((reason: unknown) => {
                stopped.push(reason)
                throw reason
              })
              .finally(() => waiting.delete(resolve))
          }
          return { said: 'done' }
        },
      }),
      defineTool({
        ...base,
        name: 'chatter',
        title: 'Chatter',
        description: 'Logs more than a call may, and then what matters.',
        output,
        async run(_input, { log }) {
          for (let line = 0; line < 2000; line++) log('debug', `line ${line}`)
          log('error', 'what matters')
          return { said: 'done' }
        },
      }),
      defineTool({
        ...base,
        name: 'every_level',
        title: 'Every level',
        description: 'Logs once at each level.',
        output,
        async run(_input, { log }) {
          for (const level of LOG_LEVELS) log(level, `at ${level}`)
          return { said: 'all' }
        },
      }),
      defineTool({
        ...base,
        name: 'ask',
        title: 'Ask',
        description: 'Asks for confirmation.',
        output,
        async run(_input, { confirm }) {
          return { said: (await confirm('Shall I?')) ? 'yes' : 'no' }
        },
      }),
    ],
  }
}
