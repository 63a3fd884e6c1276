// The tools of a fork besides `echo`. Copied into its `src/tools/`, where the path is another one.
import { defineTool, type Tool } from '../src/define.ts'
import {
  countInput,
  holdInput,
  sampleInput,
  sampleName,
  sampleOutput,
  samples,
  untilGone,
} from './sample-tools.ts'

export const count = defineTool({
  name: 'count',
  title: 'Count',
  description: 'Reports progress.',
  annotations: { readOnlyHint: true },
  input: countInput(),
  output: countInput(),
  longRunning: true,
  async run({ steps }, { progress }) {
    for (let step = 1; step <= steps; step += 1) {
      progress(step, steps)
      await new Promise(setImmediate)
    }
    return { steps }
  },
})

export const hold = defineTool({
  name: 'hold',
  title: 'Hold',
  description: 'Waits until the caller leaves.',
  annotations: { readOnlyHint: true },
  input: holdInput(),
  output: holdInput(),
  longRunning: true,
  async run({ text }, { progress, signal }) {
    progress(1)
    await untilGone(signal)
    return { text }
  },
})

export const sampleTools: readonly Tool[] = samples().map((index) =>
  defineTool({
    name: sampleName(index),
    title: 'Sample',
    description: 'Not called.',
    annotations: { readOnlyHint: true },
    input: sampleInput(index),
    output: sampleOutput(),
    longRunning: false,
    run: async () => ({ ids: [], total: 0 }),
  }),
)
