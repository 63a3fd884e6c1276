import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { run } from '../../src/run.ts'
import { tools } from '../../src/tools/index.ts'

/**
 * The server as it ships, with a call that says how far it is and then waits for another call to let
 * it go on: whoever sees its progress before that, sees it live.
 */
const gates = new Map<string, PromiseWithResolvers<void>>()

function gateOf(name: string): PromiseWithResolvers<void> {
  const gate = gates.get(name) ?? Promise.withResolvers<void>()
  gates.set(name, gate)
  return gate
}

const input = z.strictObject({ gate: z.string().max(64) })
const output = z.strictObject({ gate: z.string().max(64) })

const pass = defineTool({
  name: 'pass_gate',
  title: 'Pass gate',
  description: 'Says that it has begun, and ends when the gate is opened.',
  annotations: {},
  input,
  output,
  longRunning: true,
  async run({ gate }, { progress, signal }) {
    progress(1, 2, 'Waiting at the gate')
    const left = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    await Promise.race([gateOf(gate).promise, left])
    signal.throwIfAborted()
    progress(2, 2, 'Through')
    return { gate }
  },
})

const open = defineTool({
  name: 'open_gate',
  title: 'Open gate',
  description: 'Lets the call at the gate go on.',
  annotations: {},
  input,
  output,
  longRunning: false,
  async run({ gate }) {
    gateOf(gate).resolve()
    return { gate }
  },
})

await run({ tools: [...tools, pass, open], resources, prompts })
