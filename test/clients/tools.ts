import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineTool, LOG_LEVELS, type Tool } from '../../src/define.ts'

const empty = z.strictObject({})
const base = { annotations: {}, input: empty, output: empty, longRunning: false } as const

/** What the matrix of clients calls besides the tools of the product. */
export const matrixTools: readonly Tool[] = [
  defineTool({
    ...base,
    name: 'every_level',
    title: 'Every level',
    description: 'Logs once at each level.',
    async run(_input, { log }) {
      for (const level of LOG_LEVELS) log(level, `at ${level}`)
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'agree',
    title: 'Agree',
    description: 'Asks for confirmation and says what the answer was.',
    output: z.strictObject({ agreed: z.boolean() }),
    async run(_input, { confirm }) {
      return { agreed: await confirm('Go on?') }
    },
  }),
  defineTool({
    ...base,
    name: 'hang',
    title: 'Hang',
    description: 'Tells that it has begun, and waits until it is told to stop.',
    async run(_input, { progress, signal }) {
      progress(1, 3)
      progress(2, 3)
      await sleep(60_000, undefined, { signal })
      return {}
    },
  }),
]

/** What `policies/access.yaml` needs for them. */
export const MATRIX_ENTRIES = matrixTools
  .map(({ name }) => `  ${name}: { scopes: [], why: "a part of the test" }\n`)
  .join('')
