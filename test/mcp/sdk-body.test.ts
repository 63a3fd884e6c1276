import { inputRequired, inputResponse } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineSdkPrompt, defineSdkTool, type SdkRequest } from '../../src/mcp/sdk-body.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { call, request, send } from './wire.ts'

const NOTHING = z.strictObject({})
const SAMPLING = { 'io.modelcontextprotocol/clientCapabilities': { sampling: {} } }
const question = inputRequired.createMessage({
  messages: [{ role: 'user', content: { type: 'text', text: 'Well?' } }],
  maxTokens: 10,
})

/** Asks twice, and tells what came back. */
function twice({ cameBack, inputResponses }: SdkRequest) {
  const heard = inputResponse(inputResponses, 'q').kind
  if (cameBack('second')) return `done after ${heard}`
  const requestState = cameBack('first') ? 'second' : 'first'
  return inputRequired({ inputRequests: { q: question }, requestState })
}

const text = (value: string) => ({ type: 'text' as const, text: value })
const define = (name: string, answer: Parameters<typeof defineSdkTool>[0]['answer']) =>
  defineSdkTool({
    name,
    title: name,
    description: name,
    annotations: {},
    input: NOTHING,
    longRunning: false,
    answer,
  })

const tools = [
  define('twice', async (_input, _context, sdk) => {
    const answer = twice(sdk)
    return typeof answer === 'string' ? { content: [text(answer)] } : answer
  }),
  define('deaf', () => new Promise(() => {})),
  define('leaky', () => Promise.reject(new Error('hunter2'))),
  define('large', async () => ({ content: [text('x'.repeat(5000))] })),
  define('odd', async () => JSON.parse('{"content":"none"}')),
  define('failing', async () => ({ content: [text('No.')], isError: true })),
]
const prompts = [
  defineSdkPrompt({
    name: 'twice',
    title: 'twice',
    description: 'twice',
    input: NOTHING,
    async answer(_input, _context, sdk) {
      const answer = twice(sdk)
      if (typeof answer !== 'string') return answer
      return { messages: [{ role: 'user', content: text(answer) }] }
    },
  }),
]

const start = () =>
  startEndpoint({
    catalog: { tools, prompts },
    access: { timeoutSeconds: 1 },
    policies: ({ limits, ...others }) => ({
      ...others,
      limits: { ...limits, result: { bytes: 4096 } },
    }),
  })

const RESPONSE = { role: 'assistant', content: text('Well.'), model: 'm' }
/** One round of a call: the first without a state. */
function round(at: Endpoint, method: string, requestState?: string, subject = 'ann') {
  const answered =
    requestState === undefined ? {} : { requestState, inputResponses: { q: RESPONSE } }
  const params = { name: 'twice', ...(method === 'tools/call' && { arguments: {} }), ...answered }
  return send(at, request('modern', method, params, SAMPLING), { subject })
}

describe.each(['tools/call', 'prompts/get'])('contract: a body with the SDK, %s', (method) => {
  it('asks in rounds, each with a state of its own, and on record', async () => {
    await using endpoint = await start()
    const first = (await round(endpoint, method)).json.result
    expect(first.resultType).toBe('input_required')
    const second = (await round(endpoint, method, first.requestState)).json.result
    expect(second.requestState).not.toBe(first.requestState)
    const last = await round(endpoint, method, second.requestState)
    expect(last.text).toContain('done after sampling')
    expect(endpoint.outcomes().map(({ outcome }) => outcome)).toEqual(['asked', 'asked', 'ok'])
  })

  it('does not say in the state what the body called it', async () => {
    await using endpoint = await start()
    const { requestState } = (await round(endpoint, method)).json.result
    const parts: string[] = requestState.split('.')
    const decoded = parts.map((part) => Buffer.from(part, 'base64url').toString()).join('\n')
    expect(decoded).toContain('"tool":"twice"')
    expect(decoded).not.toContain('first')
  })
})

describe('threat: a state that is forged, stolen, used twice, or of another method', () => {
  it.each<[string, (state: string) => [string, string, string]]>([
    ['is changed', (state) => ['tools/call', `${state}x`, 'ann']],
    ['is of somebody else', (state) => ['tools/call', state, 'bob']],
  ])('refuses one that %s', async (_name, change) => {
    await using endpoint = await start()
    const { requestState } = (await round(endpoint, 'tools/call')).json.result
    const [method, state, subject] = change(requestState)
    const { json } = await round(endpoint, method, state, subject)
    expect(json.error).toMatchObject({ code: -32602, message: 'Invalid params' })
  })

  it('takes it once', async () => {
    await using endpoint = await start()
    const { requestState } = (await round(endpoint, 'tools/call')).json.result
    expect((await round(endpoint, 'tools/call', requestState)).json.result).toBeDefined()
    expect((await round(endpoint, 'tools/call', requestState)).json.error).toBeDefined()
  })

  it('does not take one of a tool for that of a prompt with the same name', async () => {
    await using endpoint = await start()
    const first = (await round(endpoint, 'tools/call')).json.result
    const second = (await round(endpoint, 'tools/call', first.requestState)).json.result
    const { text } = await round(endpoint, 'prompts/get', second.requestState)
    expect(text).not.toContain('done')
  })
})

describe('threat: a body with the SDK gets around the bounds of a call', () => {
  it.each([
    ['leaky', /^The tool failed \(reference/, 'failed'],
    ['odd', /^The tool failed \(reference/, 'failed'],
    ['large', /^The result is too large\.$/, 'failed'],
    ['deaf', /^The tool did not finish within 1 seconds/, 'timed-out'],
    ['failing', /^No\.$/, 'failed'],
  ])('bounds %s', async (name, message, outcome) => {
    await using endpoint = await start()
    const { json } = await send(endpoint, call('modern', name))
    expect(json.result.isError).toBe(true)
    expect(json.result.content[0].text).toMatch(message)
    expect(endpoint.outcomes()).toMatchObject([{ outcome }])
    expect(endpoint.written().includes('hunter2')).toBe(false)
  })

  it('refuses a question that the client cannot answer, with the capability that it needs', async () => {
    await using endpoint = await start()
    const { status, json } = await send(endpoint, call('modern', 'twice'))
    expect([status, json.error.code]).toEqual([400, -32021])
    expect(json.error.data).toEqual({ requiredCapabilities: { sampling: {} } })
  })

  it('asks no client of a 2025 revision that is in no session', async () => {
    await using endpoint = await start()
    const { json } = await send(endpoint, call('legacy', 'twice'), { era: 'legacy' })
    expect(json.result.isError).toBe(true)
    expect(json.result.content[0].text).toContain('needs a client of MCP 2026-07-28')
  })
})
