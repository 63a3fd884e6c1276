import type { ServerEvent } from '@modelcontextprotocol/server'
import { afterEach, describe, expect, it } from 'vitest'
import { paced } from '../../src/mcp/paced.ts'
import { META } from '../app.ts'
import { connect } from '../raw-http.ts'
import { callWith } from '../wire.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'
import { request } from './wire.ts'

const updated = (uri: string): ServerEvent => ({ kind: 'resource_updated', uri })
const LIST: ServerEvent = { kind: 'tools_list_changed' }

/** A client that takes what a test lets it take. */
function client(): {
  readonly tell: (event: ServerEvent) => void
  readonly heard: ServerEvent[]
  behind: boolean
  catchUp(): void
} {
  const heard: ServerEvent[] = []
  let waiting: (() => void)[] = []
  const state = {
    heard,
    behind: false,
    catchUp() {
      state.behind = false
      for (const run of waiting.splice(0)) run()
    },
  }
  const tell = paced((event) => void heard.push(event), {
    isBehind: () => state.behind,
    whenCaughtUp: (run) => {
      waiting = [...waiting, run]
    },
    follows: new Set(['a', 'b']),
  })
  return Object.assign(state, { tell })
}

let endpoint: Endpoint | undefined
afterEach(async () => {
  await endpoint?.[Symbol.asyncDispose]()
})

describe('threat: a stream whose client does not read, what has changed piles up in memory', () => {
  it('holds each change once, and tells of it when the client has caught up', () => {
    const one = client()
    one.behind = true
    for (let times = 0; times < 1000; times++) {
      for (const event of [updated('a'), LIST, updated('b'), updated('c')]) one.tell(event)
    }
    expect(one.heard).toEqual([])
    one.catchUp()
    expect(one.heard).toEqual([updated('a'), LIST, updated('b')])
  })

  it('tells of what changes afterwards, in order', () => {
    const one = client()
    one.behind = true
    one.tell(updated('a'))
    one.catchUp()
    one.tell(updated('b'))
    one.tell(updated('a'))
    expect(one.heard).toEqual([updated('a'), updated('b'), updated('a')])
  })

  it('waits again when the client falls behind again', () => {
    const one = client()
    one.behind = true
    one.tell(updated('a'))
    one.catchUp()
    one.behind = true
    one.tell(updated('b'))
    expect(one.heard).toEqual([updated('a')])
    one.catchUp()
    expect(one.heard).toEqual([updated('a'), updated('b')])
  })

  it('tells a client that reads of each change, and of nothing that it does not follow', () => {
    const one = client()
    for (const event of [updated('a'), updated('a'), updated('c'), LIST]) one.tell(event)
    expect(one.heard).toEqual([updated('a'), updated('a'), LIST])
  })

  it('merges what is said to a stream on a socket that nobody reads', {
    timeout: 60_000,
  }, async () => {
    const URI = 'report://AAAAAAAAAAAAAAAAAAAAAA'
    const CHANGES = 200_000
    endpoint = await startEndpoint()
    const { lasting, url, key } = endpoint
    const message = request('modern', 'subscriptions/listen', {
      notifications: { resourceSubscriptions: [URI] },
      _meta: META,
    })
    const wire = callWith(
      JSON.stringify(message),
      'MCP-Protocol-Version: 2026-07-28',
      'Mcp-Method: subscriptions/listen',
    )
    const { host, port } = new URL(url)
    using reader = connect({ port: Number(port) })
    reader.write(wire.replaceAll('AUTHORITY', host).replaceAll('KEY', key()))
    const received = reader.closed()
    await new Promise((resolve) => reader.socket.once('data', resolve))
    reader.socket.pause()

    const ann = { kind: 'api-key', issuer: 'gatehouse', client: '', subject: 'ann' } as const
    const owner = { ...ann, scopes: [], roles: [], tenant: null }
    for (let index = 0; index < CHANGES; index++) {
      lasting.changes.publish(updated(URI), owner)
      if (index % 1000 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    reader.socket.resume()
    lasting.changes.listsChanged()
    await endpoint.drain(2)
    const told = (await received).match(/notifications\/resources\/updated/g)?.length ?? 0
    expect(told).toBeGreaterThan(0)
    expect(told).toBeLessThan(CHANGES / 2)
  })
})
