import type { JSONRPCMessage, Server } from '@modelcontextprotocol/server'
import { z } from 'zod'

/** Refusals of our own handlers. All of them are -32602, and tell unknown from forbidden names alike. */
export const NOT_FOUND = {
  tool: 'Unknown tool',
  resource: 'Resource not found',
  prompt: 'Prompt not found',
} as const

/** Fixed texts for the codes that JSON-RPC 2.0 §5.1 and MCP 2026-07-28 define. */
const MESSAGES = new Map([
  [-32700, 'Parse error'],
  [-32601, 'Method not found'],
  [-32602, 'Invalid params'],
  [-32603, 'Internal error'],
  [-32020, 'Headers do not match the message'],
  [-32021, 'A required client capability is missing'],
  [-32022, 'Unsupported protocol version'],
])
const OTHER = { code: -32600, message: 'Invalid request' }
const OWN_TEXTS: ReadonlySet<string> = new Set(Object.values(NOT_FOUND))

/** What a client must act on. Anything else of `data` stays behind. */
const dataSchema = z
  .object({
    supported: z.array(z.string()).optional(),
    requested: z
      .string()
      .regex(/^\d{4}-\d{2}-\d{2}$/)
      .optional()
      .catch(undefined),
    requiredCapabilities: z.record(z.string(), z.unknown()).optional(),
    reason: z.literal('invalid_request_state').optional().catch(undefined),
  })
  .transform((data) => (Object.values(data).some(Boolean) ? data : undefined))
  .optional()
  .catch(undefined)

const errorSchema = z.object({ code: z.int(), message: z.string(), data: dataSchema })

const refusalSchema = z.object({
  id: z.union([z.string(), z.number()]).nullish(),
  error: errorSchema,
})

type PlainError = z.input<typeof errorSchema>

/**
 * An error of the SDK in fixed words. Its own quote the request (versions, names, library messages),
 * without a bound, and some have codes that MCP does not define.
 */
function plainError({ code, message, data }: z.output<typeof errorSchema>): PlainError {
  const text = OWN_TEXTS.has(message) ? message : MESSAGES.get(code)
  return text === undefined ? OTHER : { code, message: text, ...(data && { data }) }
}

/** What the SDK refuses before it has a server: status, id and what a client must act on stay. */
export async function plainRefusal(response: Response): Promise<Response> {
  const parsed = refusalSchema.safeParse(await response.json().catch(() => undefined))
  if (!parsed.success) return new Response(null, { status: response.status })
  const { id, error } = parsed.data
  return Response.json(
    {
      jsonrpc: '2.0',
      ...(id === null || id === undefined ? {} : { id }),
      error: plainError(error),
    },
    { status: response.status },
  )
}

/** The same for the errors that a server sends with status 200, in JSON or on a stream. */
export function sendPlainErrors(server: Server): void {
  const connect = server.connect.bind(server)
  server.connect = async function connectPlainly(transport) {
    const send = transport.send.bind(transport)
    transport.send = (message, options) => send(plainMessage(message), options)
    await connect(transport)
  }
}

function plainMessage(message: JSONRPCMessage): JSONRPCMessage {
  if (!('error' in message)) return message
  const { data } = errorSchema.safeParse(message.error)
  return { ...message, error: data === undefined ? OTHER : plainError(data) }
}
