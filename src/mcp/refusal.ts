import { isSpecType, type JSONRPCMessage, type Server } from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Message } from '../context.ts'
import { DENIALS, PROTOCOL_ERRORS, type RefusalName } from '../errors.ts'
import { VERSION_FORM } from './era.ts'
import type { Served } from './served.ts'

/** Refusals of our own handlers. All of them are -32602, and tell unknown from forbidden names alike. */
export const NOT_FOUND = {
  tool: PROTOCOL_ERRORS['handler.unknown-tool'].message,
  resource: PROTOCOL_ERRORS['handler.resource-not-found'].message,
  prompt: PROTOCOL_ERRORS['handler.prompt-not-found'].message,
  task: PROTOCOL_ERRORS['handler.task-not-found'].message,
  completion: PROTOCOL_ERRORS['handler.invalid-params'].message,
} as const

/** Hears why a request was refused, for its record. */
export type Refused = (reason: RefusalName) => void

const ERRORS = { ...DENIALS, ...PROTOCOL_ERRORS }

/** What an error of the SDK can mean. An argument that a tool does not take is no error of the SDK. */
type Reason = Exclude<RefusalName, 'handler.invalid-arguments'>

const REASON_BY_TEXT = new Map<string, Reason>([
  [NOT_FOUND.tool, 'handler.unknown-tool'],
  [NOT_FOUND.resource, 'handler.resource-not-found'],
  [NOT_FOUND.prompt, 'handler.prompt-not-found'],
  [NOT_FOUND.task, 'handler.task-not-found'],
])

/** Of the codes that JSON-RPC 2.0 §5.1 and MCP 2026-07-28 define. */
const REASON_BY_CODE = new Map<number, Reason>([
  [-32700, 'parse-message.not-json'],
  [-32601, 'authorize.unknown-method'],
  [-32602, 'handler.invalid-params'],
  [-32603, 'handler.failed'],
  [-32020, 'protocol-guard.header-mismatch'],
  [-32021, 'handler.missing-capability'],
  [-32022, 'protocol-guard.unsupported-version'],
])

/** What a client must act on. Anything else of `data` stays behind. */
const dataSchema = z
  .object({
    supported: z.array(z.string()).optional(),
    requested: z.string().regex(VERSION_FORM).optional().catch(undefined),
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

type SdkError = z.output<typeof errorSchema>

function reasonOf({ code, message, data }: SdkError): Reason {
  if (code === -32602 && data?.reason !== undefined) return 'handler.request-state'
  return REASON_BY_TEXT.get(message) ?? REASON_BY_CODE.get(code) ?? 'handler.other'
}

/**
 * An error of the SDK in fixed words. Its own quote the request (versions, names, library messages),
 * without a bound, and some have codes that MCP does not define.
 */
function plainError(reason: Reason, data?: SdkError['data']): z.input<typeof errorSchema> {
  const { rpcCode: code, message } = ERRORS[reason]
  return { code, message, ...(data && { data }) }
}

/** The SDK's status for an exchange that ended before it had an answer. */
const CLIENT_LEFT = 499

/** What the SDK refuses before it has a server: status, id and what a client must act on stay. */
export async function plainRefusal(response: Response, refused: Refused): Promise<Response> {
  const { status } = response
  const parsed = refusalSchema.safeParse(await response.json().catch(() => undefined))
  if (!parsed.success) {
    if (status !== CLIENT_LEFT) refused('handler.other')
    return new Response(null, { status })
  }
  const { id, error } = parsed.data
  const reason = status === 406 ? 'handler.not-acceptable' : reasonOf(error)
  refused(reason)
  return Response.json(
    {
      jsonrpc: '2.0',
      ...(id === null || id === undefined ? {} : { id }),
      error: plainError(reason, error.data),
    },
    { status },
  )
}

/**
 * The same for the errors that a server sends with status 200, in JSON or on a stream.
 *
 * @param answered the message that an error with this id answers; `undefined` for none that is known
 */
export function sendPlainErrors(
  server: Server,
  answered: (id: string | number | undefined) => Answered | undefined,
): void {
  const connect = server.connect.bind(server)
  server.connect = async function connectPlainly(transport) {
    const send = transport.send.bind(transport)
    transport.send = (message, options) => send(plainMessage(message, answered), options)
    await connect(transport)
  }
}

type Answered = Pick<Served, 'refused'> & { readonly vars: Pick<Served['vars'], 'message'> }

/** One message of a server, its error in fixed words. */
export function plainMessage(
  message: JSONRPCMessage,
  answered: (id: string | number | undefined) => Answered | undefined,
): JSONRPCMessage {
  if (!('error' in message)) return message
  const { data: error } = errorSchema.safeParse(message.error)
  const about = answered(message.id)
  const found = error === undefined ? 'handler.other' : reasonOf(error)
  // Parameters that its schema of a method refuses are, to the SDK, an internal error.
  const isMalformed = about !== undefined && !isSpecified(about.vars.message)
  const reason = found === 'handler.failed' && isMalformed ? 'handler.invalid-params' : found
  about?.refused(reason)
  return { ...message, error: plainError(reason, error?.data) }
}

/** The schemas of what the SDK parses by itself, by method. */
const SCHEMAS = new Map<string, (request: Message) => boolean>([
  ['initialize', isSpecType.InitializeRequest],
  ['logging/setLevel', isSpecType.SetLevelRequest],
  ['tools/list', isSpecType.ListToolsRequest],
  ['resources/list', isSpecType.ListResourcesRequest],
  ['resources/templates/list', isSpecType.ListResourceTemplatesRequest],
  ['resources/read', isSpecType.ReadResourceRequest],
  ['prompts/list', isSpecType.ListPromptsRequest],
  ['prompts/get', isSpecType.GetPromptRequest],
  ['completion/complete', isSpecType.CompleteRequest],
])

function isSpecified(request: Message): boolean {
  return SCHEMAS.get(request.method)?.(request) ?? true
}
