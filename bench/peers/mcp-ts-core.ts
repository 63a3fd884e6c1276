// @cyanheads/mcp-ts-core 0.10.17, as its README shows it ("What is this?", "Configuration"). It
// reports progress of tasks only, so it has no `count` and no `hold`.
// https://www.npmjs.com/package/@cyanheads/mcp-ts-core/v/0.10.17
import { createApp, tool } from '@cyanheads/mcp-ts-core'
import { echoInput, sampleInput, sampleName, sampleOutput, samples } from '../sample-tools.ts'

const echo = tool('echo', {
  description: 'Returns the text.',
  annotations: { readOnlyHint: true },
  input: echoInput(),
  output: echoInput(),
  handler: ({ text }) => ({ text }),
})

// Two more, so that there are as many tools as elsewhere.
const others = [-1, -2, ...samples()].map((index) =>
  tool(index < 0 ? `other_${-index}` : sampleName(index), {
    description: 'Not called.',
    annotations: { readOnlyHint: true },
    input: sampleInput(index),
    output: sampleOutput(),
    handler: () => ({ ids: [], total: 0 }),
  }),
)

await createApp({ name: 'bench', version: '1.0.0', tools: [echo, ...others] })
console.log('listening')
