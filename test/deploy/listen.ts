import { request } from '../mcp/wire.ts'

/** What opens a stream that says nothing by itself: a subscription to changes of the tools. */
export function listenRequest(key: string): {
  readonly method: 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
} {
  const filter = { notifications: { toolsListChanged: true } }
  return {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'subscriptions/listen',
    },
    body: JSON.stringify(request('modern', 'subscriptions/listen', filter)),
  }
}
