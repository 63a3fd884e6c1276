import { setTimeout as sleep } from 'node:timers/promises'
import { trace } from '@opentelemetry/api'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { run } from '../../src/run.ts'
import { tools } from '../../src/tools/index.ts'

/** The server as it ships, and a tool that makes a span of its own, as libraries of a fork do. */
const traced = defineTool({
  name: 'traced',
  title: 'Traced',
  description: 'Works inside a span of its own, and fails when it is told to.',
  annotations: {},
  input: z.strictObject({ text: z.string().max(100), fails: z.boolean() }),
  output: z.strictObject({ text: z.string().max(100) }),
  longRunning: false,
  async run({ text, fails }) {
    const span = trace.getTracer('a-library').startSpan('work of the tool')
    await sleep(5)
    span.end()
    if (fails) throw new Error(text)
    return { text }
  },
})

await run({ tools: [...tools, traced], resources, prompts })
