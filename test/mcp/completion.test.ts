import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { definePrompt } from '../../src/define.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { type Answer, call, type Era, request, send } from './wire.ts'

const ERAS: readonly Era[] = ['modern', 'legacy']
const MANY = 250

const input = z.strictObject({ town: z.string().max(64), street: z.string().max(64) })
const prompts = [
  definePrompt({
    name: 'address',
    title: 'Address',
    description: 'An address.',
    input,
    render: async ({ town }) => town,
    complete: async (argument, value) =>
      Array.from({ length: MANY }, (_, number) => `${argument}-${value}-${number}`),
  }),
  definePrompt({
    name: 'silent',
    title: 'Silent',
    description: 'Suggests nothing.',
    input,
    render: async () => '',
  }),
  definePrompt({
    name: 'broken',
    title: 'Broken',
    description: 'Fails.',
    input,
    render: async () => '',
    complete: () => Promise.reject(new Error('hunter2')),
  }),
]

const ADDRESS = { type: 'ref/prompt', name: 'address' }
const REPORT = { type: 'ref/resource', uri: 'report://{id}' }

function complete(
  at: Endpoint,
  era: Era,
  ref: object,
  argument: object,
  subject = 'ann',
): Promise<Answer> {
  return send(at, request(era, 'completion/complete', { ref, argument }), {
    era,
    subject,
    headers: { 'mcp-name': null },
  })
}

const start = (access = {}) => startEndpoint({ catalog: { prompts }, access })

describe.each(ERAS)('contract: completion, %s era', (era) => {
  it('gives the first 100 values and says that there are more', async () => {
    await using endpoint = await start()
    const { json } = await complete(endpoint, era, ADDRESS, { name: 'town', value: 'par' })
    const { values, total, hasMore } = json.result.completion
    expect(values).toHaveLength(100)
    expect([values[0], total, hasMore]).toEqual(['town-par-0', MANY, true])
    expect(endpoint.audited.map(({ event }) => event)).toEqual(['decision', 'outcome', 'request'])
    expect(endpoint.outcomes()).toMatchObject([
      { method: 'completion/complete', name: 'address', outcome: 'ok' },
    ])
  })

  it('gives nothing for what suggests nothing', async () => {
    await using endpoint = await start()
    const { json } = await complete(
      endpoint,
      era,
      { type: 'ref/prompt', name: 'silent' },
      { name: 'town', value: '' },
    )
    expect(json.result.completion).toEqual({ values: [], total: 0, hasMore: false })
  })
})

describe('threat: completion as a way around authorization', () => {
  it.each([
    ['of the resource', REPORT],
    ['of the prompt', { type: 'ref/prompt', name: 'summarize_report' }],
  ])('suggests ids of the caller alone, in the argument %s', async (_name, ref) => {
    await using endpoint = await start()
    const documents = [{ name: 'a', text: 'b' }]
    const made = await send(endpoint, call('modern', 'process_documents', { documents }))
    const id: string = made.json.result.structuredContent.reportId
    const suggested = async (value: string, subject: string): Promise<string[]> =>
      (await complete(endpoint, 'modern', ref, { name: 'id', value }, subject)).json.result
        .completion.values
    expect(await suggested('', 'ann')).toEqual([id])
    expect(await suggested(id.slice(0, 3), 'ann')).toEqual([id])
    expect(await suggested(`${id.slice(0, 3)}?`, 'ann')).toEqual([])
    expect(await suggested('', 'bob')).toEqual([])
  })

  it('asks for the scopes of what is completed', async () => {
    await using endpoint = await start({ scopes: ['towns:read'] })
    const answer = await complete(endpoint, 'modern', ADDRESS, { name: 'town', value: '' })
    expect(answer.status).toBe(403)
    expect(answer.headers.get('www-authenticate')).toContain('scope="mcp:use towns:read"')
    expect(endpoint.outcomes()).toEqual([])
  })

  it.each([
    ['holds for the value so far', "args.town.startsWith('par')", 'par', 200],
    ['does not hold for the value so far', "args.town.startsWith('par')", 'rom', 403],
    ['needs another argument', "args.street != ''", 'par', 403],
  ])('decides on the one argument that is there: a condition that %s', async (...row) => {
    const [, when, value, status] = row
    await using endpoint = await startEndpoint({
      catalog: { prompts: prompts.slice(0, 1) },
      access: { when },
    })
    const answer = await complete(endpoint, 'modern', ADDRESS, { name: 'town', value })
    expect(answer.status).toBe(status)
  })

  it.each<[string, object, object]>([
    ['an unknown prompt', { type: 'ref/prompt', name: 'nope' }, { name: 'town', value: '' }],
    ['a tool', { type: 'ref/prompt', name: 'echo' }, { name: 'text', value: '' }],
    ['an unknown template', { type: 'ref/resource', uri: 'x://{y}' }, { name: 'y', value: '' }],
    [
      'a URI in place of a template',
      { type: 'ref/resource', uri: 'report://1' },
      { name: 'id', value: '' },
    ],
    ['another type', { type: 'ref/tool', name: 'address' }, { name: 'town', value: '' }],
    ['an unknown argument', ADDRESS, { name: 'city', value: '' }],
    ['an inherited name', ADDRESS, { name: 'constructor', value: '' }],
    ['a value that is too long', ADDRESS, { name: 'town', value: 'x'.repeat(2049) }],
    ['no text', ADDRESS, { name: 'town', value: 7 }],
  ])('refuses %s', async (_name, ref, argument) => {
    await using endpoint = await start()
    const answer = await complete(endpoint, 'modern', ref, argument)
    expect(answer.json.error).toEqual({ code: -32602, message: 'Invalid params' })
    expect(endpoint.outcomes().filter(({ outcome }) => outcome !== 'not-run')).toEqual([])
  })

  it('masks what goes wrong', async () => {
    await using endpoint = await start()
    const ref = { type: 'ref/prompt', name: 'broken' }
    const { json, text } = await complete(endpoint, 'modern', ref, { name: 'town', value: '' })
    expect(json.error).toEqual({ code: -32603, message: 'Internal error' })
    expect(text).not.toContain('hunter2')
    expect(endpoint.outcomes()).toMatchObject([{ outcome: 'failed' }])
  })
})
