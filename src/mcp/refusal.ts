import { z } from 'zod'

const refusalSchema = z.object({
  id: z.union([z.string(), z.number()]).nullish(),
  error: z.object({
    code: z.int(),
    data: z
      .object({
        supported: z.array(z.string()).optional(),
        requested: z
          .string()
          .regex(/^\d{4}-\d{2}-\d{2}$/)
          .optional()
          .catch(undefined),
        requiredCapabilities: z.record(z.string(), z.unknown()).optional(),
      })
      .optional()
      .catch(undefined),
  }),
})

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

/**
 * A refusal of the SDK in fixed words. Its own quote the request (versions, names, library messages),
 * and some have codes that MCP does not define. Status, id and what a client must act on stay.
 */
export async function plainRefusal(response: Response): Promise<Response> {
  const parsed = refusalSchema.safeParse(await response.json().catch(() => undefined))
  if (!parsed.success) return new Response(null, { status: response.status })
  const { id, error } = parsed.data
  const message = MESSAGES.get(error.code)
  return Response.json(
    {
      jsonrpc: '2.0',
      ...(id === null || id === undefined ? {} : { id }),
      error: message === undefined ? OTHER : { code: error.code, message, data: error.data },
    },
    { status: response.status },
  )
}
