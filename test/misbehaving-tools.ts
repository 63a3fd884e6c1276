import { appendFileSync } from 'node:fs'
import { setTimeout as sleep, setImmediate as yieldToLoop } from 'node:timers/promises'
import { z } from 'zod'
import { defineTool, type Tool } from '../src/define.ts'
import type { PolicyEdit } from './server.ts'

/** Room for a result that no reader finds in the buffers of its system when it stalls. */
export const largeResults: PolicyEdit = [
  'limits.yaml',
  'result: { bytes: 1048576 }',
  'result: { bytes: 4194304 }',
]

/** What the errors of these tools say. It must not be found in any answer or record. */
export const SECRET = 'canary-correct horse battery staple'

const annotations = {}
const output = z.strictObject({ text: z.string().max(4_000_000) })
const nothing = z.strictObject({})

export const misbehavingTools: readonly Tool[] = [
  defineTool({
    name: 'large',
    title: 'Large',
    description: 'Returns as many bytes as it is asked for.',
    annotations,
    input: z.strictObject({ bytes: z.int().min(0).max(4_000_000) }),
    output,
    longRunning: false,
    run: async ({ bytes }) => ({ text: 'x'.repeat(bytes) }),
  }),
  defineTool({
    name: 'straying',
    title: 'Straying',
    description: 'Asks a service that no policy lists for it.',
    annotations,
    input: nothing,
    output,
    longRunning: false,
    run: async (_input, { fetch }) => ({ text: (await fetch('https://api.example.com/')).text() }),
  }),
  defineTool({
    name: 'deaf',
    title: 'Deaf',
    description: 'Takes its time and does not stop when it is told to.',
    annotations,
    input: z.strictObject({ seconds: z.int().min(0).max(600) }),
    output,
    longRunning: false,
    async run({ seconds }) {
      await sleep(seconds * 1000)
      return { text: 'done' }
    },
  }),
  defineTool({
    name: 'patient',
    title: 'Patient',
    description: 'Takes its time, and stops when it is told to.',
    annotations,
    input: z.strictObject({ seconds: z.int().min(0).max(600) }),
    output,
    longRunning: false,
    async run({ seconds }, { signal }) {
      await sleep(seconds * 1000, undefined, { signal })
      return { text: 'done' }
    },
  }),
  defineTool({
    name: 'marking',
    title: 'Marking',
    description: 'Has an effect outside of the server: a line in a file.',
    annotations,
    input: z.strictObject({ file: z.string().max(4096), line: z.string().max(256) }),
    output,
    longRunning: false,
    async run({ file, line }) {
      appendFileSync(file, `${line}\n`)
      return { text: line }
    },
  }),
  defineTool({
    name: 'forgetful',
    title: 'Forgetful',
    description: 'Leaves work behind that fails.',
    annotations,
    input: nothing,
    output,
    longRunning: false,
    async run() {
      void Promise.reject(new Error(SECRET))
      return { text: 'done' }
    },
  }),
  defineTool({
    name: 'failing',
    title: 'Failing',
    description: 'Fails at once.',
    annotations,
    input: nothing,
    output,
    longRunning: false,
    async run() {
      throw new Error(SECRET)
    },
  }),
  defineTool({
    name: 'exiting',
    title: 'Exiting',
    description: 'Ends the process, and says that all is well.',
    annotations,
    input: nothing,
    output,
    longRunning: false,
    async run() {
      await yieldToLoop()
      process.exit(0)
    },
  }),
  defineTool({
    name: 'explosive',
    title: 'Explosive',
    description: 'Throws where nobody can catch.',
    annotations,
    input: nothing,
    output,
    longRunning: false,
    async run() {
      setImmediate(() => {
        throw new Error(SECRET)
      })
      return { text: 'done' }
    },
  }),
]

/** Entries for these tools in `access.yaml`. */
export const misbehavingAccess: PolicyEdit = [
  'access.yaml',
  'tools:\n',
  `tools:\n${misbehavingTools
    .map(({ name }) => `  ${name}: { scopes: [], timeoutSeconds: 600, why: "for tests" }\n`)
    .join('')}`,
]
