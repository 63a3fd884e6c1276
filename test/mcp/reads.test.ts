import { beforeEach, describe, expect, it } from 'vitest'
import type { OwnerStore } from '../../src/define.ts'
import { ownerSpace } from '../../src/owner-key.ts'
import { keepReport } from '../../src/resources/report.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { ownerStore } from '../../src/stores/owner-store.ts'
import { startEndpoint } from './endpoint.ts'
import { call, type Era, request, send } from './wire.ts'

const ERAS: readonly Era[] = ['modern', 'legacy']
const HOUR_MS = 3_600_000

/** Monotonic clock of the store, ms. */
let nowMs = 0
beforeEach(() => {
  nowMs = 1000
})

const start = () => startEndpoint({ store: memoryStore(() => nowMs) })

function spaceOf(endpoint: Awaited<ReturnType<typeof start>>, subject: string): OwnerStore {
  const principal = {
    kind: 'api-key',
    issuer: 'gatehouse',
    client: '',
    subject,
    scopes: [],
    roles: [],
    tenant: null,
  } as const
  return ownerStore(endpoint.store, ownerSpace(principal))
}

const USES: readonly [string, (era: Era, id: string) => object][] = [
  ['the resource', (era, id) => request(era, 'resources/read', { uri: `report://${id}` })],
  [
    'the prompt',
    (era, id) => request(era, 'prompts/get', { name: 'summarize_report', arguments: { id } }),
  ],
  ['delete_report', (era, id) => call(era, 'delete_report', { id })],
]

const UNKNOWN = 'AAAAAAAAAAAAAAAAAAAAAA'

describe.each(ERAS)('threat: reports of others, %s era', (era) => {
  it.each(USES)('%s answers a foreign id like an unknown one', async (_name, use) => {
    await using endpoint = await start()
    const id = await keepReport(spaceOf(endpoint, 'ann'), [])
    const foreign = await send(endpoint, use(era, id), { era, subject: 'bob' })
    const unknown = await send(endpoint, use(era, UNKNOWN), { era, subject: 'bob' })
    const own = await send(endpoint, use(era, id), { era, subject: 'ann' })
    expect(foreign.status).toBe(unknown.status)
    expect(foreign.text).toBe(unknown.text)
    expect(own.text).not.toBe(unknown.text)

    const outcomes = endpoint.outcomes().map(({ outcome, resultSha256 }) => [outcome, resultSha256])
    expect(outcomes[0]).toEqual(outcomes[1])
  })

  it('lists show those of the caller only', async () => {
    await using endpoint = await start()
    const id = await keepReport(spaceOf(endpoint, 'ann'), [])
    const listed = async (subject: string): Promise<object> =>
      (await send(endpoint, request(era, 'resources/list'), { era, subject })).json.result.resources
    expect(await listed('ann')).toEqual([
      {
        uri: `report://${id}`,
        title: `Report ${id}`,
        name: 'report',
        description: expect.stringContaining('process_documents'),
        mimeType: 'application/json',
      },
    ])
    expect(await listed('bob')).toEqual([])
  })

  it.each([
    ['another spelling', (id: string) => `REPORT://${id}`],
    ['a query', (id: string) => `report://${id}?x`],
    ['a fragment', (id: string) => `report://${id}#x`],
    ['a longer path', (id: string) => `report://${id}/x`],
    ['an escape', (id: string) => `report://%41${id.slice(1)}`],
    ['a line feed', (id: string) => `report://${id}\n`],
    ['a walk upwards', (id: string) => `report://x/../${id}`],
  ])('a report has one uri: %s is not it', async (_name, spell) => {
    await using endpoint = await start()
    const id = await keepReport(spaceOf(endpoint, 'ann'), [])
    const message = request(era, 'resources/read', { uri: spell(id) })
    const encoded = `=?base64?${Buffer.from(spell(id)).toString('base64')}?=`
    const { json } = await send(endpoint, message, { era, headers: { 'mcp-name': encoded } })
    expect(json.error).toEqual({ code: -32602, message: 'Resource not found' })
  })
})

describe('contract: reports end and are bounded', () => {
  it.each([
    ['just before its hour is over', HOUR_MS - 1, true],
    ['when its hour is over', HOUR_MS, false],
  ])('a report %s', async (_name, laterMs, there) => {
    await using endpoint = await start()
    const id = await keepReport(spaceOf(endpoint, 'ann'), [])
    nowMs += laterMs
    for (const [, use] of USES.slice(0, 2)) {
      const { json } = await send(endpoint, use('modern', id))
      expect(json.error === undefined).toBe(there)
    }
    const { json } = await send(endpoint, request('modern', 'resources/list'))
    expect(json.result.resources).toHaveLength(there ? 1 : 0)
  })

  it('the hundred and first report drops the oldest, and nothing of others', async () => {
    await using endpoint = await start()
    const bobs = await keepReport(spaceOf(endpoint, 'bob'), [])
    const ids: string[] = []
    for (let index = 0; index < 101; index++) {
      ids.push(await keepReport(spaceOf(endpoint, 'ann'), []))
    }
    const { json } = await send(endpoint, request('modern', 'resources/list'))
    const uris = json.result.resources.map(({ uri }: { uri: string }) => uri)
    expect(uris).toEqual(ids.slice(1).map((id) => `report://${id}`))
    const read = request('modern', 'resources/read', { uri: `report://${bobs}` })
    expect((await send(endpoint, read, { subject: 'bob' })).json.error).toBeUndefined()
  })
})
