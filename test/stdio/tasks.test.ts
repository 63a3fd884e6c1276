// optional: tasks
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { META } from '../app.ts'
import { startHost } from './host.ts'

const empty = z.strictObject({})
let ran = 0
const job = (name: string, task: 'optional' | 'required') =>
  defineTool({
    name,
    title: name,
    description: 'Counts how often it ran.',
    annotations: {},
    input: empty,
    output: empty,
    longRunning: false,
    task,
    async run() {
      ran += 1
      return {}
    },
  })

const EXTENSION = { extensions: { 'io.modelcontextprotocol/tasks': {} } }
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'

const request = (method: string, params: object): object => ({
  jsonrpc: '2.0',
  id: 1,
  method,
  params: { ...params, _meta: { ...META, [CAPABILITIES]: EXTENSION } },
})

describe('threat: work that only runs as a task is begun where nobody can follow a task', () => {
  it.each([
    ['a tool that only runs as a task', 'tools/call', { name: 'required', arguments: {} }],
    ['the state of a task', 'tasks/get', { taskId: 'a' }],
    ['the end of a task', 'tasks/cancel', { taskId: 'a' }],
    ['the notifications of a task', 'subscriptions/listen', { notifications: { taskIds: ['a'] } }],
  ])('%s is refused over stdio', async (_name, method, params) => {
    await using host = await startHost({ catalog: { tools: [job('required', 'required')] } })
    ran = 0
    const answer = await host.ask(request(method, params))
    expect(answer).toMatchObject({
      error: { code: -32021, data: { requiredCapabilities: EXTENSION } },
    })
    expect(ran).toBe(0)
    expect(host.audited.map(({ event }) => event)).not.toContain('decision')
  })

  it('a tool that may be one is called', async () => {
    await using host = await startHost({ catalog: { tools: [job('optional', 'optional')] } })
    ran = 0
    const answer = await host.ask(request('tools/call', { name: 'optional', arguments: {} }))
    expect(answer).toHaveProperty('result')
    expect(ran).toBe(1)
  })
})
