import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../src/define.ts'
import { runTool } from './tool.ts'

const about = { title: 'T', description: 'T', annotations: {}, longRunning: false } as const

/** Counts to a number, and asks first. */
const count = defineTool({
  ...about,
  name: 'count',
  input: z.strictObject({ to: z.int().min(1).max(3) }),
  output: z.strictObject({ counted: z.int().max(2) }),

  async run({ to }, { progress, log, confirm }) {
    if (!(await confirm('Count?'))) return { counted: 0 }
    progress(to, to)
    log('info', 'Counted')
    return { counted: to }
  },
})

const blocks = defineTool({
  ...about,
  name: 'blocks',
  input: z.strictObject({}),
  run: async () => [{ type: 'text', text: 'hello' } as const],
})

describe('contract: authors see what the server would', () => {
  it('gives the result, the notifications in order, and the questions', async () => {
    const run = await runTool(count, { to: 2 }, { agrees: true })
    expect(run.result.counted).toBe(2)
    expect(run.notifications).toEqual([
      { kind: 'progress', done: 2, total: 2 },
      { kind: 'log', level: 'info', message: 'Counted' },
    ])
    expect(run.questions).toEqual(['Count?'])
  })

  it('a person who is not said to agree does not', async () => {
    const run = await runTool(count, { to: 2 })
    expect(run).toMatchObject({ result: { counted: 0 }, notifications: [] })
  })

  it.each([
    ['input that the schema refuses', { to: 4 }],
    ['a field too many', { to: 1, more: 1 }],
    ['a result that the schema refuses', { to: 3 }],
  ])('rejects %s', async (_name, input) => {
    await expect(runTool(count, input, { agrees: true })).rejects.toThrow(z.ZodError)
  })

  it('gives content blocks as they are', async () => {
    expect((await runTool(blocks, {})).result).toEqual([{ type: 'text', text: 'hello' }])
  })
})
