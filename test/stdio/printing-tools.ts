import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineTool, type Tool } from '../../src/define.ts'

const nothing = z.strictObject({})
const base = { annotations: {}, input: nothing, output: nothing, longRunning: false } as const

export const printingTools: readonly Tool[] = [
  defineTool({
    ...base,
    name: 'printing',
    title: 'Printing',
    description: 'Prints, by all means there are.',
    async run() {
      console.log('printed by console.log')
      console.info('printed by console.info')
      console.table([{ printed: 'by console.table' }])
      process.stdout.write('printed by process.stdout.write\n')
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'slow',
    title: 'Slow',
    description: 'Takes a while and says when it has begun.',
    async run(_input, { progress }) {
      progress(1)
      await sleep(500)
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'endless',
    title: 'Endless',
    description: 'Never ends, and says when it has begun.',
    async run(_input, { progress }) {
      progress(1)
      await new Promise(() => undefined)
      return {}
    },
  }),
  defineTool({
    ...base,
    name: 'chatty',
    title: 'Chatty',
    description: 'Sends more progress than anybody reads.',
    async run(_input, { progress, signal }) {
      for (let done = 0; done < 2_000_000 && !signal.aborted; done++) {
        progress(done, undefined, 'x'.repeat(1000))
        if (done % 1000 === 0) await sleep(0)
      }
      return {}
    },
  }),
]

/** What `policies/access.yaml` needs for them. */
export const PRINTING_ENTRIES = printingTools
  .map(({ name }) => `  ${name}: { scopes: [], why: "a part of the test" }\n`)
  .join('')
