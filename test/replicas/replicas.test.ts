// optional: redis (@redis/client)
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ENDPOINT } from '../deploy/fetch.ts'
import { describeWith } from '../deploy/programs.ts'
import { callOf, stopServers } from '../server.ts'
import { type Fleet, startFleet } from './fleet.ts'

afterAll(stopServers)

const PROGRAMS = ['nginx', 'redis-server']
const LIMITS: readonly [string, string, string] = [
  'limits.yaml',
  'requestsPerMinute: 1200, concurrentCalls: 32',
  'requestsPerMinute: 60, concurrentCalls: 32',
]

interface Answer {
  readonly status: number
  readonly text: string
}

/** One call by a client of a 2025 revision that sends each message by itself. */
async function post(fleet: Fleet, body: string, index?: number): Promise<Answer> {
  const response = await fleet.fetch(index)(ENDPOINT, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${fleet.key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body,
  })
  return { status: response.status, text: await response.text() }
}

/** A `tools/call` of MCP 2026-07-28. */
async function modern(
  fleet: Fleet,
  params: { readonly name: string; readonly [member: string]: unknown },
  index?: number,
): Promise<Answer> {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
    'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
  }
  const response = await fleet.fetch(index)(ENDPOINT, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${fleet.key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': params.name,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { ...params, _meta },
    }),
  })
  return { status: response.status, text: await response.text() }
}

describeWith(PROGRAMS, 'threat: a limit or a mark holds in each replica by itself', () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await startFleet(2, [LIMITS])
  }, 60_000)
  afterAll(() => fleet[Symbol.asyncDispose]())

  it('counts the calls of a principal in all replicas together', async () => {
    const statuses: number[] = []
    for (let call = 0; call < 70; call += 1) {
      statuses.push((await post(fleet, callOf('whoami', {}), call % 2)).status)
    }
    expect(statuses.filter((status) => status === 200)).toHaveLength(60)
    expect(statuses.slice(60).every((status) => status === 429)).toBe(true)
  })
})

describeWith(PROGRAMS, 'contract: several replicas are one server', () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await startFleet(2, [
      ['limits.yaml', 'requestsPerMinute: 600', 'requestsPerMinute: 100000'],
      ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 100000'],
      ['access.yaml', 'callsPerMinutePerPrincipal: 60', 'callsPerMinutePerPrincipal: 10000'],
    ])
  }, 60_000)
  afterAll(() => fleet[Symbol.asyncDispose]())

  const makeReport = callOf('process_documents', { documents: [{ name: 'a', text: 'b c' }] })
  const reportId = ({ text }: Answer): string => /"reportId":"([\w-]{22})"/.exec(text)?.[1] ?? ''

  it('what one has stored, the other reads', async () => {
    const id = reportId(await post(fleet, makeReport, 0))
    const read = {
      jsonrpc: '2.0',
      id: 2,
      method: 'resources/read',
      params: { uri: `report://${id}` },
    }
    const { text } = await post(fleet, JSON.stringify(read), 1)
    expect(text).toContain('contents')
  })

  it('a confirmation that one asked for is taken by the other, once', async () => {
    const id = reportId(await post(fleet, makeReport, 0))
    const tool = { name: 'delete_report', arguments: { id } }
    const asked = await modern(fleet, tool, 0)
    expect(asked.text).toContain('"resultType":"input_required"')
    const [, requestState] = /"requestState":"([^"]+)"/.exec(asked.text) ?? []
    const inputResponses = { confirm: { action: 'accept', content: { confirm: true } } }
    const answered = { ...tool, inputResponses, requestState }
    expect((await modern(fleet, answered, 1)).text).toContain('"deleted":true')
    const again = await modern(fleet, answered, 0)
    expect(again.text).toContain('invalid_request_state')
    expect(again.text).not.toContain('"deleted"')
  })

  it('what changes at one is told by the other', async () => {
    const [listening, working] = await Promise.all([
      fleet.client('auto', 1),
      fleet.client('auto', 0),
    ])
    const told = Promise.withResolvers<void>()
    listening.setNotificationHandler('notifications/resources/list_changed', () => told.resolve())
    await listening.listen({ resourcesListChanged: true })
    await working.callTool({
      name: 'process_documents',
      arguments: { documents: [{ name: 'a', text: 'b' }] },
    })
    await told.promise
    await Promise.all([listening.close(), working.close()])
  })
})

describeWith(PROGRAMS, 'threat: a deploy or an outage of Redis loses calls', () => {
  it.each([2, 4])(
    'a rolling restart of %i under load loses no call, while Redis dies and comes back',
    async (count) => {
      await using fleet = await startFleet(count, [
        ['limits.yaml', 'requestsPerMinute: 600', 'requestsPerMinute: 1000000'],
        ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 1000000'],
      ])
      const seen = new Map<number, number>()
      let stopped = false
      let finished = 0

      /** What was refused before anything ran, and says when to come back, is sent again. */
      async function call(text: string, isModern: boolean): Promise<void> {
        for (;;) {
          const answer = isModern
            ? await modern(fleet, { name: 'echo', arguments: { text } })
            : await post(fleet, callOf('echo', { text }))
          seen.set(answer.status, (seen.get(answer.status) ?? 0) + 1)
          if (answer.status === 200) {
            expect(answer.text).toContain(text)
            finished += 1
            return
          }
          // 502: the connection ended under a call that may have begun; `echo` may be asked twice.
          expect(answer.status).toBeOneOf([502, 503])
          await sleep(50)
        }
      }
      const callers = Array.from({ length: 8 }, async (_, caller) => {
        for (let index = 0; !stopped; index += 1)
          await call(`call-${caller}-${index}`, caller % 2 === 0)
      })

      const exits: (number | null)[] = []
      exits.push(await fleet.restart(0))
      await fleet.redis.stop()
      const during = finished
      while (finished < during + 50) await sleep(10)
      await fleet.redis.start()
      for (let index = 1; index < count; index += 1) exits.push(await fleet.restart(index))
      stopped = true
      await Promise.all(callers)

      expect(exits).toEqual(Array.from({ length: count }, () => 0))
      expect(finished).toBeGreaterThan(100)
      // Most of them notice nothing at all.
      expect(seen.get(200)).toBe(finished)
      const others = [...seen]
        .filter(([status]) => status !== 200)
        .reduce((sum, [, n]) => sum + n, 0)
      expect(others).toBeLessThan(finished / 4)
    },
    120_000,
  )
})
