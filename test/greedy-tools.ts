import { setTimeout as sleep, setImmediate as yieldToLoop } from 'node:timers/promises'
import { z } from 'zod'
import { defineTool, type Tool } from '../src/define.ts'
import type { PolicyEdit } from './server.ts'

const annotations = {}
const output = z.strictObject({ text: z.string().max(16) })
const DONE = { text: 'done' }
const seconds = z.number().min(0).max(600)

/** Tools that take more of the process than their share: of the wire, of its time, of its memory. */
export const greedyTools: readonly Tool[] = [
  defineTool({
    name: 'flooding',
    title: 'Flooding',
    description: 'Says 200 things of 1 kB and 200 of 8 kB a second.',
    annotations,
    input: z.strictObject({ seconds }),
    output,
    longRunning: true,
    async run({ seconds }, { progress, log, signal }) {
      const end = performance.now() + seconds * 1000
      const text = 'x'.repeat(1000)
      const data = { text: 'x'.repeat(7000) }
      for (let done = 1; performance.now() < end && !signal.aborted; done += 1) {
        progress(done, undefined, text)
        log('info', text, data)
        if (done % 10 === 0) await sleep(50)
      }
      return DONE
    },
  }),
  defineTool({
    name: 'blocking',
    title: 'Blocking',
    description: 'Blocks the event loop again and again.',
    annotations,
    input: z.strictObject({ seconds, ms: z.int().min(1).max(5000) }),
    output,
    longRunning: false,
    async run({ seconds, ms }, { signal }) {
      const end = performance.now() + seconds * 1000
      while (performance.now() < end && !signal.aborted) {
        const free = performance.now() + ms
        while (performance.now() < free);
        await yieldToLoop()
      }
      return DONE
    },
  }),
  defineTool({
    name: 'hoarding',
    title: 'Hoarding',
    description: 'Holds memory of the heap for a while.',
    annotations,
    input: z.strictObject({ seconds, mebibytes: z.int().min(1).max(4096) }),
    output,
    longRunning: false,
    async run({ seconds, mebibytes }, { signal }) {
      const hoard = Array.from({ length: mebibytes }, () => Array(131_072).fill(0))
      await sleep(seconds * 1000, undefined, { signal })
      return { text: hoard.length === mebibytes ? 'done' : '' }
    },
  }),
]

/** Entries for these tools in `access.yaml`. */
export const greedyAccess: PolicyEdit = [
  'access.yaml',
  'tools:\n',
  `tools:\n${greedyTools
    .map(({ name }) => `  ${name}: { scopes: [], timeoutSeconds: 600, why: "for tests" }\n`)
    .join('')}`,
]
