// optional: tasks
import { afterAll, describe, expect, it } from 'vitest'
import { TASKS_EXTENSION } from '../../src/tasks-extension.ts'
import { META, testApp, toolCall } from '../app.ts'
import { FOLLOWS, job, required } from '../mcp/tasks/client.ts'

const entry = { scopes: [], listed: false, timeoutSeconds: 5, why: 'of the test' }
const app = testApp({
  catalog: { tools: [job, required] },
  policies: (shipped) => ({
    ...shipped,
    access: { ...shipped.access, tools: { job: entry, required: entry } },
  }),
})
afterAll(() => app.close())

const ID = 'A'.repeat(22)
const CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities'
const LEGACY = { 'mcp-protocol-version': '2025-11-25', 'mcp-method': null, 'mcp-name': null }

function message(method: string, params: object, meta: object = META): object {
  return { jsonrpc: '2.0', id: 1, method, params: { ...params, _meta: meta } }
}
const requiredCall = { name: 'required', arguments: { way: 'answers' } }
const declaring = (extensions: unknown): object => ({ ...META, [CAPABILITIES]: { extensions } })

const REFUSAL = {
  jsonrpc: '2.0',
  id: 1,
  error: {
    code: -32021,
    message: 'A required client capability is missing',
    data: { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } },
  },
}

async function expectRefused(body: object, headers: Record<string, string | null> = {}) {
  const response = await app.send({ body, headers })
  expect(response.status).toBe(400)
  expect(response.json).toEqual(REFUSAL)
  expect(response.reached).toBe(0)
  const reasons = response.events.flatMap((event) =>
    event.event === 'request' ? event.reason : [],
  )
  expect(reasons).toEqual(['task-guard.missing-capability'])
  const ran = response.events.filter(({ event }) => event === 'outcome')
  for (const outcome of ran) expect(outcome).toMatchObject({ outcome: 'not-run' })
}

describe('threat: work for a client that cannot follow it, nobody reads its result or ends it', () => {
  it.each<readonly [string, object]>([
    ['none', META],
    ['no extensions', { ...META, [CAPABILITIES]: {} }],
    ['a prefix of it', declaring({ 'io.modelcontextprotocol/task': {} })],
    ['a suffix of it', declaring({ 'io.modelcontextprotocol/tasksx': {} })],
    ['another case', declaring({ 'IO.modelcontextprotocol/tasks': {} })],
    ['constructor', declaring({ constructor: {} })],
  ])('refuses a required tool to a client that declares %s', async (_name, meta) => {
    await expectRefused(message('tools/call', requiredCall, meta))
  })

  it.each([
    ['extensions of null', declaring(null)],
    ['the extension as null', declaring({ [TASKS_EXTENSION]: null })],
    ['the extension as true', declaring({ [TASKS_EXTENSION]: true })],
  ])('has no client come to it that declares %s', async (_name, meta) => {
    const response = await app.send({ body: message('tools/call', requiredCall, meta) })
    expect(response).toMatchObject({ status: 400, reached: 0, json: { error: { code: -32602 } } })
  })

  it.each(['tasks/get', 'tasks/update', 'tasks/cancel'])('refuses %s to it', async (method) => {
    await expectRefused(message(method, { taskId: ID, inputResponses: {} }), { 'mcp-name': ID })
  })

  it('refuses it notifications of tasks, and lets a stream without them through', async () => {
    const listen = (notifications: object) => message('subscriptions/listen', { notifications })
    await expectRefused(listen({ taskIds: [ID] }))
    const stream = await app.open({ body: listen({}) })
    expect(stream.status).toBe(200)
    await stream.leave()
  })

  it.each([
    ['says nothing', {}],
    ['declares the extension where clients of 2026-07-28 do', FOLLOWS],
  ])('refuses a required tool to a client of 2025 that %s', async (_name, meta) => {
    await expectRefused(message('tools/call', requiredCall, meta), LEGACY)
  })

  it.each([
    ['no string', { toString: 'required' }],
    ['a list', ['required']],
    ['null', null],
  ])('is not upset by a name that is %s', async (_name, name) => {
    const body = message('tools/call', { name, arguments: {} })
    const response = await app.send({ body, headers: { 'mcp-name': 'required' } })
    expect(response.json).toMatchObject({ error: { code: -32602 } })
  })

  it('lets a client through that declares it', async () => {
    const { json } = await app.send({
      body: message('tools/call', requiredCall, { ...META, ...FOLLOWS }),
    })
    expect(json).toMatchObject({ result: { resultType: 'task', status: 'working' } })
  })

  it('lets a tool that may be a task run at once for others', async () => {
    const { json } = await app.send({ body: toolCall('job', { way: 'answers' }) })
    expect(json).toMatchObject({ result: { content: [{ text: 'done' }] } })
  })
})
