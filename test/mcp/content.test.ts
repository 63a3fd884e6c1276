import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  type ContentBlock,
  definePrompt,
  defineResource,
  defineTool,
  type Prompt,
  type Resource,
  type Tool,
} from '../../src/define.ts'
import { startEndpoint } from './endpoint.ts'
import { call, type Era, request, send } from './wire.ts'

const ERAS: readonly Era[] = ['modern', 'legacy']
const NOTHING = z.strictObject({})
const BYTES = Uint8Array.of(0, 1, 254, 255)
const BASE64 = 'AAH+/w=='

/** A view into a larger buffer: nothing beside it may be sent. */
const view = new Uint8Array(Uint8Array.of(9, 9, ...BYTES, 9).buffer, 2, 4)

function tool(name: string, blocks: () => readonly ContentBlock[]): Tool {
  return defineTool({
    name,
    title: name,
    description: `Answers ${name}.`,
    annotations: {},
    input: NOTHING,
    longRunning: false,
    run: async () => blocks(),
  })
}

function resource(uriTemplate: string, content: string | Uint8Array): Resource {
  return defineResource({
    uriTemplate,
    name: 'fixed',
    title: 'Fixed',
    description: 'A fixed one.',
    mimeType: 'application/octet-stream',
    params: NOTHING,
    read: async () => content,
    list: async () => [{ uri: uriTemplate, title: 'Fixed' }],
  })
}

function prompt(name: string, render: Prompt['render']): Prompt {
  return definePrompt({ name, title: name, description: name, input: NOTHING, render })
}

/** What a fork that is not type-checked might return. */
const wrong: unknown[] = [
  { type: 'text' },
  { type: 'text', text: 'x', more: 'y' },
  { type: 'image', data: BASE64, mimeType: 'image/png' },
  { type: 'resource', resource: { uri: 'test://x', text: 'x' } },
  { type: 'video', data: BYTES, mimeType: 'video/mp4' },
  'text',
  null,
]
const wrongTools = wrong.map((block, index): Tool => {
  const made = tool(`wrong${index}`, () => [])
  return { ...made, run: () => Promise.resolve(JSON.parse('[]').concat([block])) }
})

const PARTS = {
  tools: [
    tool('every_block', () => [
      { type: 'text', text: 'Hello' },
      { type: 'image', data: view, mimeType: 'image/png' },
      { type: 'audio', data: Buffer.from(BYTES), mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'test://a', mimeType: 'text/plain', content: 'a' } },
      { type: 'resource', resource: { uri: 'test://b', mimeType: 'image/png', content: BYTES } },
      { type: 'resource_link', uri: 'test://c', name: 'c', description: 'The third' },
    ]),
    tool('large_block', () => [{ type: 'text', text: 'x'.repeat(5000) }]),
    ...wrongTools,
    { ...tool('no_blocks', () => []), run: () => Promise.resolve({ text: 'x' }) },
  ],
  resources: [resource('test://bytes', view), resource('test://large', 'x'.repeat(5000))],
  prompts: [
    prompt('several', async () => [
      { role: 'user', content: { type: 'image', data: BYTES, mimeType: 'image/png' } },
      { role: 'assistant', content: { type: 'text', text: 'I see.' } },
    ]),
    prompt('large_prompt', async () => 'x'.repeat(5000)),
  ],
}

const start = () =>
  startEndpoint({
    catalog: PARTS,
    policies: (policies) => ({
      ...policies,
      limits: { ...policies.limits, result: { bytes: 4096 } },
    }),
  })

describe.each(ERAS)('contract: content, %s era', (era) => {
  it('sends every kind of block, and puts a digest of them on record', async () => {
    await using endpoint = await start()
    const { json } = await send(endpoint, call(era, 'every_block'), { era })
    expect(json.result.content).toEqual([
      { type: 'text', text: 'Hello' },
      { type: 'image', data: BASE64, mimeType: 'image/png' },
      { type: 'audio', data: BASE64, mimeType: 'audio/wav' },
      { type: 'resource', resource: { uri: 'test://a', mimeType: 'text/plain', text: 'a' } },
      { type: 'resource', resource: { uri: 'test://b', mimeType: 'image/png', blob: BASE64 } },
      { type: 'resource_link', uri: 'test://c', name: 'c', description: 'The third' },
    ])
    expect(json.result.structuredContent).toBe(undefined)
    expect(endpoint.outcomes()).toMatchObject([
      { outcome: 'ok', resultSha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    ])
  })

  it('lists no output schema for a tool that answers blocks', async () => {
    await using endpoint = await start()
    const { json } = await send(endpoint, request(era, 'tools/list'), { era })
    const listed = (name: string) =>
      json.result.tools.find((one: { name: string }) => one.name === name)
    expect(listed('every_block')).not.toHaveProperty('outputSchema')
    expect(listed('echo')).toHaveProperty('outputSchema')
  })

  it('sends a resource of bytes as Base64, and lists it as a resource, not as a template', async () => {
    await using endpoint = await start()
    const ask = async (method: string, params = {}) =>
      (await send(endpoint, request(era, method, params), { era })).json.result
    expect((await ask('resources/read', { uri: 'test://bytes' })).contents).toEqual([
      { uri: 'test://bytes', mimeType: 'application/octet-stream', blob: BASE64 },
    ])
    const { resources } = await ask('resources/list')
    expect(resources.map(({ uri }: { uri: string }) => uri)).toContain('test://bytes')
    const { resourceTemplates } = await ask('resources/templates/list')
    expect(resourceTemplates.map((one: Resource) => one.uriTemplate)).toEqual(['report://{id}'])
  })

  it('sends the messages of a prompt, whoever speaks them', async () => {
    await using endpoint = await start()
    const { json } = await send(endpoint, request(era, 'prompts/get', { name: 'several' }), { era })
    expect(json.result.messages).toEqual([
      { role: 'user', content: { type: 'image', data: BASE64, mimeType: 'image/png' } },
      { role: 'assistant', content: { type: 'text', text: 'I see.' } },
    ])
  })
})

describe('threat: exhaustion and surprise, content that nothing checks', () => {
  it.each([...wrongTools.map(({ name }) => name), 'no_blocks'])('masks %s', async (name) => {
    await using endpoint = await start()
    const { json } = await send(endpoint, call('modern', name))
    expect(json.result).toMatchObject({ isError: true })
    expect(json.result.content[0].text).toMatch(/^The tool failed \(reference [\w-]+\)$/)
    expect(endpoint.outcomes()).toMatchObject([{ outcome: 'failed', resultSha256: undefined }])
  })

  it('bounds blocks as it bounds structured results', async () => {
    await using endpoint = await start()
    const { json } = await send(endpoint, call('modern', 'large_block'))
    expect(json.result).toEqual(
      expect.objectContaining({
        content: [{ type: 'text', text: 'The result is too large.' }],
        isError: true,
      }),
    )
  })

  it.each([
    ['a resource', request('modern', 'resources/read', { uri: 'test://large' })],
    ['a prompt', request('modern', 'prompts/get', { name: 'large_prompt' })],
  ])('bounds %s', async (_name, message) => {
    await using endpoint = await start()
    const { json } = await send(endpoint, message)
    expect(json.error).toEqual({ code: -32603, message: 'Internal error' })
    expect(endpoint.outcomes()).toMatchObject([{ outcome: 'failed' }])
  })
})
