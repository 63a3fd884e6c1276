import { describe, expect, it } from 'vitest'
import type { Message } from '../../src/context.ts'
import { Denied } from '../../src/errors.ts'
import { eraReader } from '../../src/mcp/era.ts'
import { META } from '../app.ts'

const INITIALIZE = {
  protocolVersion: '2025-06-18',
  capabilities: {},
  clientInfo: { name: 'a', version: '1' },
}
const LEGACY = { 'mcp-protocol-version': '2025-11-25' }

/** The era, or the name of the refusal with its data. */
function read(
  policy: 'off' | 'stateless',
  [method, params]: readonly [string, object?],
  sent: Readonly<Record<string, string>>,
): unknown {
  const message: Message = {
    jsonrpc: '2.0',
    ...(method.startsWith('notifications/') ? {} : { id: 1 }),
    method,
    ...(params && { params: { ...params } }),
  }
  const headers = new Map(Object.entries(sent).map(([name, value]) => [name, [value]]))
  try {
    return eraReader(policy)(message, headers)
  } catch (error) {
    return error instanceof Denied ? [error.reason, error.data] : error
  }
}

// `test/controls/protocol-guard.test.ts` compares it with what the SDK does.
describe('contract: the era of a message, by policy', () => {
  const unsupported = (requested?: string): unknown => [
    'protocol-guard.unsupported-version',
    { supported: ['2026-07-28'], ...(requested !== undefined && { requested }) },
  ]

  it.each<[string, [string, object?], Record<string, string>, unknown, unknown]>([
    ['a request of 2025', ['tools/list'], LEGACY, 'legacy', unsupported('2025-11-25')],
    ['a request without a version', ['tools/list'], {}, 'legacy', unsupported()],
    ['an initialize', ['initialize', INITIALIZE], {}, 'legacy', unsupported('2025-06-18')],
    [
      'an initialize of no date',
      ['initialize', { ...INITIALIZE, protocolVersion: 'canary' }],
      {},
      'legacy',
      unsupported(),
    ],
    ['a notification of 2025', ['notifications/initialized'], LEGACY, 'legacy', 'legacy'],
    ['a request of 2026', ['tools/list', { _meta: META }], {}, 'modern', 'modern'],
  ])('%s', (_name, message, headers, stateless, off) => {
    expect(read('stateless', message, headers)).toEqual(stateless)
    expect(read('off', message, headers)).toEqual(off)
  })
})
