import { classifyInboundRequest, PROTOCOL_VERSION_META_KEY } from '@modelcontextprotocol/server'
import type { Era, Message } from '../context.ts'
import { type RawHeaders, single } from '../raw-headers.ts'

/** Revisions are dates, so they compare as text. */
const FIRST_MODERN_REVISION = '2026-07-28'

/**
 * The era that the SDK will serve a message in: modern when the message, or else the header, names a
 * modern revision. The SDK's own classifier validates the whole message for the same answer, so only
 * `initialize`, where it looks closer, is put to it; `handler.ts` refuses to serve when they differ.
 *
 * Source: MCP 2026-07-28, Versioning; Streamable HTTP, Protocol Version Header.
 */
export function eraOf(message: Message, headers: RawHeaders): Era {
  const version = single(headers, 'mcp-protocol-version')
  if (message.method === 'initialize') {
    const { kind } = classifyInboundRequest({
      httpMethod: 'POST',
      body: message,
      ...(version === undefined ? {} : { protocolVersionHeader: version }),
    })
    return kind === 'legacy' ? 'legacy' : 'modern'
  }
  const meta = message.params?.['_meta']
  if (typeof meta === 'object' && meta !== null && PROTOCOL_VERSION_META_KEY in meta)
    return 'modern'
  return version !== undefined && version >= FIRST_MODERN_REVISION ? 'modern' : 'legacy'
}
