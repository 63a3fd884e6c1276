/** One modern `tools/call` of `echo` (MCP 2026-07-28), as the v2 client of the SDK sends it. */
export function requestOf(options: {
  readonly port: number
  /** API key, or `undefined` for a server without authentication. */
  readonly key: string | undefined
  readonly id: number
}): string {
  const body = JSON.stringify({
    method: 'tools/call',
    params: {
      name: 'echo',
      arguments: { text: textOf(options.id) },
      _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'bench', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      },
    },
    jsonrpc: '2.0',
    id: options.id,
  })
  return [
    'POST /mcp HTTP/1.1',
    `Host: 127.0.0.1:${options.port}`,
    'Accept: application/json, text/event-stream',
    'Content-Type: application/json',
    'MCP-Protocol-Version: 2026-07-28',
    'Mcp-Method: tools/call',
    'Mcp-Name: echo',
    ...(options.key === undefined ? [] : [`Authorization: Bearer ${options.key}`]),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n')
}

/** @throws when the answer is not the right one for this request: the run is then worth nothing. */
export function checkAnswer(status: number, body: string, id: number): void {
  const answer: unknown = status === 200 ? JSON.parse(body) : undefined
  const found = get(answer, 'id') === id && get(get(answer, 'result'), 'structuredContent')
  if (get(found, 'text') !== textOf(id)) throw new Error(`wrong answer: ${status} ${body}`)
}

/** Differs from call to call, so that no answer can come from a cache. */
function textOf(id: number): string {
  return `benchmark ${id}`
}

function get(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
