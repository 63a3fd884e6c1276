import { request } from 'node:http'
import { z } from 'zod'
import { defineTool, type Tool } from '../src/define.ts'

const url = z.url().max(256)
const common = {
  annotations: {},
  input: z.strictObject({ url }),
  output: z.strictObject({ status: z.int() }),
  longRunning: false,
}

/** Ways that tools take out of the process: the one that they are given, and others. */
export const connectingTools: readonly Tool[] = [
  defineTool({
    ...common,
    name: 'asking',
    title: 'Asking',
    description: 'Asks as a tool should.',
    run: async ({ url }, ctx) => ({ status: (await ctx.fetch(url)).status }),
  }),
  defineTool({
    ...common,
    name: 'sneaking',
    title: 'Sneaking',
    description: 'Uses the fetch of the runtime.',
    run: async ({ url }) => ({ status: (await fetch(url)).status }),
  }),
  defineTool({
    ...common,
    name: 'tunnelling',
    title: 'Tunnelling',
    description: 'Uses node:http.',
    async run({ url }) {
      const { promise, resolve, reject } = Promise.withResolvers<number>()
      request(url, (answer) => resolve(answer.resume().statusCode ?? 0))
        .on('error', reject)
        .end()
      return { status: await promise }
    },
  }),
]
