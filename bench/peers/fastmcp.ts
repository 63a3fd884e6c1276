// fastmcp 4.20.16, as its README shows it ("Remote Server Options", "Structured Tool Output",
// "Progress"). BENCH_STATELESS=true is its "Stateless Mode"; otherwise it keeps a session a client.
// https://www.npmjs.com/package/fastmcp/v/4.20.16
import { FastMCP } from 'fastmcp'
import {
  countInput,
  echoInput,
  holdInput,
  sampleInput,
  sampleName,
  sampleOutput,
  samples,
  untilGone,
} from '../sample-tools.ts'

const server = new FastMCP({ name: 'bench', version: '1.0.0' })

server.addTool({
  name: 'echo',
  description: 'Returns the text.',
  parameters: echoInput(),
  outputSchema: echoInput(),
  execute: async ({ text }) => ({ text }),
})

server.addTool({
  name: 'count',
  description: 'Reports progress.',
  parameters: countInput(),
  outputSchema: countInput(),
  execute: async ({ steps }, { reportProgress }) => {
    for (let progress = 1; progress <= steps; progress += 1) {
      await reportProgress({ progress, total: steps })
      await new Promise(setImmediate)
    }
    return { steps }
  },
})

server.addTool({
  name: 'hold',
  description: 'Waits until the caller leaves.',
  parameters: holdInput(),
  outputSchema: holdInput(),
  execute: async ({ text }, { reportProgress, signal }) => {
    await reportProgress({ progress: 1 })
    await untilGone(signal)
    return { text }
  },
})

for (const index of samples()) {
  server.addTool({
    name: sampleName(index),
    description: 'Not called.',
    parameters: sampleInput(index),
    outputSchema: sampleOutput(),
    execute: async () => ({ ids: [], total: 0 }),
  })
}

await server.start({
  transportType: 'httpStream',
  httpStream: {
    port: Number(process.env['PORT']),
    host: '127.0.0.1',
    stateless: process.env['BENCH_STATELESS'] === 'true',
  },
})
console.log('listening')
