import { type Client, get } from './client.ts'

/** Does one piece of work and checks what comes back. @throws when it is wrong: the run is worth nothing. */
export type Work = (client: Client, onBody?: (piece: string) => void) => Promise<void>

let turn = 0

/** A `tools/call` of `echo`. The text differs from call to call, so that no answer can be a cached one. */
export const call: Work = async (client) => {
  const text = `benchmark ${turn++}`
  const result = await client.request('tools/call', { name: 'echo', arguments: { text } })
  if (get(get(result, 'structuredContent'), 'text') !== text) throw wrong('echo', result)
}

/** `tools/list` of a server with so many tools, on one page. */
export const list =
  (tools: number): Work =>
  async (client) => {
    const result = await client.request('tools/list', {})
    const found = get(result, 'tools')
    const good =
      Array.isArray(found) &&
      found.length === tools &&
      found.every((tool) => get(get(tool, 'inputSchema'), 'type') === 'object')
    if (!good) throw wrong('tools/list', result)
  }

/** A `tools/call` of `count` with all its progress. */
export const count =
  (steps: number): Work =>
  async (client, onBody) => {
    let stream = ''
    const result = await client.request(
      'tools/call',
      { name: 'count', arguments: { steps }, _meta: { progressToken: `t${turn++}` } },
      (piece) => {
        stream += piece
        onBody?.(piece)
      },
    )
    const events = stream.split('"notifications/progress"').length - 1
    const done = get(get(result, 'structuredContent'), 'steps')
    if (done !== steps || events !== steps) throw wrong(`count (${events} events)`, result)
  }

/** A `tools/call` of `hold`, open until its client is closed. Resolves when the server works on it. */
export function hold(client: Client): Promise<void> {
  const params = { name: 'hold', arguments: { text: '' }, _meta: { progressToken: `t${turn++}` } }
  return new Promise((resolve, reject) => {
    client
      .request('tools/call', params, (piece) => {
        if (piece.includes('notifications/progress')) resolve()
      })
      .then((result) => reject(wrong('hold', result)), reject)
  })
}

function wrong(what: string, result: unknown): Error {
  return new Error(`wrong answer to ${what}: ${JSON.stringify(result).slice(0, 300)}`)
}
