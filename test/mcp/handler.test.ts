import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { answer } from '../../src/answer.ts'
import type { AppEnv, Era } from '../../src/context.ts'
import type { RefusalName } from '../../src/errors.ts'
import type { Log } from '../../src/log.ts'
import { META } from '../app.ts'
import { startEndpoint } from './endpoint.ts'

const PARAMS = { _meta: META }
const HEADERS = {
  'content-type': 'application/json',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/list',
}
const principal = {
  kind: 'anonymous',
  issuer: '',
  client: '',
  subject: 'ann',
  scopes: [],
  roles: [],
  tenant: null,
} as const

/** Hands a message of 2026-07-28 to the SDK as if it had been authorized for an era. */
async function servedFor(era: Era): Promise<{
  readonly status: number
  readonly json: unknown
  readonly denied: RefusalName | undefined
  readonly logged: readonly unknown[]
}> {
  await using endpoint = await startEndpoint()
  const logged: unknown[] = []
  const log: Log = (_message, { error } = {}) => {
    logged.push(error)
  }
  const logger = { fatal: log, error: log, warn: log, info: log, debug: log }
  let denied: RefusalName | undefined
  const app = new Hono<AppEnv>()
  app.onError(answer(logger, () => ({})))
  app.use(async (c, next) => {
    c.set('requestId', 'the-request')
    c.set('headers', new Map())
    c.set('message', { jsonrpc: '2.0', id: 7, method: 'tools/list', params: PARAMS })
    c.set('era', era)
    c.set('identity', {
      principal,
      credentialDigest: '',
      credentialId: null,
      expiresAt: null,
      claims: {},
    })
    await next()
    denied = c.get('denied')
  })
  const none = new Map()
  const rules = { tools: none, resources: none, prompts: none }
  app.post(
    '/mcp',
    endpoint.lasting.mcp.under({
      rules,
      resultBytes: 1000,
      egress: none,
      streamSeconds: 1,
      tasks: { ttlSeconds: 60, perPrincipal: 1 },
    }),
  )
  const incoming = new IncomingMessage(new Socket())
  const env = { incoming, outgoing: new ServerResponse(incoming) }
  const response = await app.request('/mcp', { method: 'POST', headers: HEADERS }, env)
  return { status: response.status, json: await response.json(), denied, logged }
}

describe('threat: a message is served in another way than it was authorized for', () => {
  it('is a bug: the caller learns the id of the request, and the log what happened', async () => {
    const { status, json, denied, logged } = await servedFor('legacy')
    expect(status).toBe(500)
    expect(json).toEqual({
      jsonrpc: '2.0',
      id: 7,
      error: { code: -32603, message: 'Internal error', data: { requestId: 'the-request' } },
    })
    expect(denied).toBe('answer.bug')
    expect(logged).toEqual([
      expect.objectContaining({ cause: new Error('Authorized for one era, served in another') }),
    ])
  })

  it('is served as it was authorized', async () => {
    const { status, json, denied, logged } = await servedFor('modern')
    expect([status, denied, logged]).toEqual([200, undefined, []])
    expect(json).toMatchObject({ result: { tools: [] } })
  })
})
