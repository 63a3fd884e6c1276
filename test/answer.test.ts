import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { answer, refusal } from '../src/answer.ts'
import type { AppEnv } from '../src/context.ts'
import { DENIALS, Denied, type DenyReason } from '../src/errors.ts'
import type { Log, Logger } from '../src/log.ts'
import { testApp } from './app.ts'

const REASONS = Object.keys(DENIALS).filter((name): name is DenyReason => name in DENIALS)
/** What MCP 2026-07-28 asks for in just these cases. The rest of -32000 to -32099 it keeps to itself. */
const CODES_OF_MCP = new Map<DenyReason, readonly number[]>([
  ['protocol-guard.invalid-meta', [-32602]],
  ['call-limit.subscriptions', [-32602]],
  ['protocol-guard.header-mismatch', [-32020]],
  ['protocol-guard.unsupported-version', [-32022]],
  ['task-guard.missing-capability', [-32021]],
])
const ID = '6b1c3f0e-7f7b-4a57-9d1d-0d7f2c6a1b11'

describe('threat: an error that talks, a caller learns what it should not', () => {
  it.each([
    ['an error', new Error('canary-value')],
    ['an error with a cause', new Error('a', { cause: new Error('canary-value') })],
    ['a type error', new TypeError('canary-value')],
    ['an error of another name', Object.assign(new Error('canary-value'), { name: 'Denied' })],
    [
      'an error that looks like a refusal',
      Object.assign(new Error('canary-value'), { status: 200 }),
    ],
  ])('masks %s that nobody expected', async (_name, error) => {
    const app = testApp({
      commitFails: () => {
        throw error
      },
    })
    const response = await app.send()
    const requestId = response.headers.get('x-request-id')

    expect(response.status).toBe(500)
    expect(response.reached).toBe(0)
    expect(response.text).toBe(
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        error: { code: -32603, message: 'Internal error', data: { requestId } },
      }),
    )
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(response.events).toEqual([
      expect.objectContaining({ event: 'request', status: 500, reason: 'answer.bug', requestId }),
    ])
    const everything = JSON.stringify([[...response.headers], response.text, response.events])
    expect(everything).not.toContain('canary-value')
    expect(everything).not.toContain('.ts:')
  })

  it('does not tell the cause of a refusal', async () => {
    const cause = new Error('canary-value')
    const app = testApp({
      commitFails: () => {
        throw new Denied('authorize.condition', { cause })
      },
    })
    const response = await app.send()
    expect(response.status).toBe(403)
    expect(JSON.stringify([[...response.headers], response.text])).not.toContain('canary-value')
  })

  it.each(REASONS)('names no reason, and no control, in the answer to %s', (reason) => {
    const { status, headers, body } = refusal(new Denied(reason, { cause: 'canary-value' }), ID)
    expect(status).toBe(DENIALS[reason].status)
    expect(Object.entries(headers).join()).not.toContain(reason)
    expect(body).not.toContain(reason)
    expect(body).not.toContain(reason.slice(0, reason.indexOf('.')))
    expect(body).not.toContain('canary-value')
  })
})

describe('contract: what the log learns of an answer', () => {
  /** The lines that answering with this error leaves in the log. */
  async function logged(error: Error): Promise<readonly unknown[][]> {
    const lines: unknown[][] = []
    const at =
      (severity: string): Log =>
      (message, fields) =>
        lines.push([severity, message, fields])
    const logger: Logger = {
      fatal: at('fatal'),
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
    }
    const app = new Hono<AppEnv>()
    app.onError(answer(logger, () => ({})))
    app.use(async (c) => {
      c.set('requestId', ID)
      c.set('headers', new Map())
      throw error
    })
    await app.request('/')
    return lines
  }

  it('is told of a bug, once, under the request id', async () => {
    const error = new Error('canary-value')
    expect(await logged(error)).toEqual([['error', 'A request failed', { requestId: ID, error }]])
  })

  it('is told nothing of a refusal, which the audit trail has', async () => {
    expect(await logged(new Denied('authorize.condition'))).toEqual([])
  })
})

describe('contract: the one answer', () => {
  it.each(REASONS)('is a whole JSON-RPC error for %s', (reason) => {
    const { headers, body } = refusal(new Denied(reason, { headers: { 'retry-after': '7' } }), ID)
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': ID,
      'retry-after': '7',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    })
    const message: unknown = JSON.parse(body)
    const data = reason === 'answer.bug' ? { data: { requestId: ID } } : {}
    const error = {
      code: expect.any(Number),
      message: expect.stringMatching(/^[A-Z][A-Za-z ]+$/),
      ...data,
    }
    expect(message).toEqual({ jsonrpc: '2.0', error })
  })

  it.each([0, 1, '', 'a', 'constructor'])('carries the id %j when it is known', (id) => {
    const { body } = refusal(new Denied('authorize.condition'), ID, id)
    expect(JSON.parse(body)).toHaveProperty('id', id)
  })

  it('does not let a refusal weaken the headers that protect the answer', () => {
    const headers = { 'content-type': 'text/html', 'x-request-id': 'x', 'cache-control': 'public' }
    const strict = refusal(new Denied('authorize.condition', { headers }), ID)
    expect(strict.headers).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': ID,
      'cache-control': 'no-store',
    })
  })

  it.each(REASONS)('uses a code as JSON-RPC and MCP define it: %s', (reason) => {
    const { rpcCode, status } = DENIALS[reason]
    expect([-32700, -32601, -32600, -32603, ...(CODES_OF_MCP.get(reason) ?? [])]).toContain(rpcCode)
    expect(rpcCode === -32603).toBe(status >= 500)
  })
})
