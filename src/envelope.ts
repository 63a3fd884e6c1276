import type { Message } from './context.ts'

const ID_LENGTH = 256

/** Whether a value is the envelope of one request or notification (JSON-RPC 2.0 §4). */
export function isMessage(value: unknown): value is Message {
  if (!isObject(value) || value['jsonrpc'] !== '2.0' || typeof value['method'] !== 'string') {
    return false
  }
  if ('result' in value || 'error' in value) return false
  if ('id' in value && !isToken(value['id'])) return false
  if (!('params' in value)) return true
  const params = value['params']
  if (!isObject(params)) return false
  const meta = params['_meta']
  if (meta === undefined) return true
  return isObject(meta) && (meta['progressToken'] === undefined || isToken(meta['progressToken']))
}

/** Request ids and progress tokens: a short string or a safe integer, never null. */
function isToken(value: unknown): boolean {
  return typeof value === 'string' ? value.length <= ID_LENGTH : Number.isSafeInteger(value)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** One JSON-RPC response, frozen at the top level: what a client answers to a question. */
export interface Reply {
  readonly jsonrpc: '2.0'
  readonly id: string | number
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: { readonly code: number; readonly message: string }
}

/** Whether a value is the envelope of one response (JSON-RPC 2.0 §5). */
export function isReply(value: unknown): value is Reply {
  if (!isObject(value) || value['jsonrpc'] !== '2.0' || 'method' in value) return false
  if (!isToken(value['id']) || 'result' in value === 'error' in value) return false
  if ('result' in value) return isObject(value['result'])
  const error = value['error']
  return (
    isObject(error) && Number.isSafeInteger(error['code']) && typeof error['message'] === 'string'
  )
}
