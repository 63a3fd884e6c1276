import { classifyInboundRequest } from '@modelcontextprotocol/server'
import { describe, expect, it } from 'vitest'
import type { Message } from '../../src/context.ts'
import { eraOf } from '../../src/mcp/era.ts'
import { META } from '../app.ts'

const VERSION = 'io.modelcontextprotocol/protocolVersion'
const METAS: readonly (object | undefined)[] = [
  undefined,
  {},
  META,
  { progressToken: 1 },
  { ...META, [VERSION]: '2025-11-25' },
  { ...META, [VERSION]: '2099-01-01' },
  { ...META, [VERSION]: 7 },
  { [VERSION]: '2026-07-28' },
  { [VERSION]: null },
]
const HEADERS = [undefined, '', '2025-06-18', '2025-11-25', '2026-07-28', '2026-07-29', '9', 'x']
const METHODS = [
  'initialize',
  'ping',
  'tools/call',
  'tools/list',
  'notifications/initialized',
  'no/such',
]

describe('contract: a message is authorized for the era that the SDK serves it in', () => {
  const cases = METHODS.flatMap((method) =>
    HEADERS.flatMap((version) => METAS.map((meta) => ({ method, version, meta }))),
  )

  it.each(cases)('$method, header $version, _meta $meta', ({ method, version, meta }) => {
    const message: Message = {
      jsonrpc: '2.0',
      ...(method.startsWith('notifications/') ? {} : { id: 1 }),
      method,
      ...(meta === undefined ? {} : { params: { _meta: meta } }),
    }
    const { kind } = classifyInboundRequest({
      httpMethod: 'POST',
      body: message,
      ...(version === undefined ? {} : { protocolVersionHeader: version }),
    })
    const era = eraOf(
      message,
      new Map(version === undefined ? [] : [['mcp-protocol-version', [version]]]),
    )
    if (kind !== 'reject') expect(era).toBe(kind)
  })
})
