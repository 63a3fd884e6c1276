/** @import { CallResult, InputRequest, InputResponse, Notification, Refusal, Tool } from '../types.ts' */
import { headerValue, parameterHeaders } from './headers.js'
import { EventSourceParserStream } from './vendor/eventsource-parser/stream.js'

/**
 * MCP 2026-07-28 over Streamable HTTP, as much of it as a page needs: every request is a POST of its
 * own, and its answer is JSON or a stream of server-sent events that ends with the answer. The client
 * of the SDK does far more and would need a bundler: its modules import packages by bare names.
 */

const VERSION = '2026-07-28'
const META = 'io.modelcontextprotocol/'
/** Longest event of a stream, UTF-16 code units. */
const MAX_EVENT_LENGTH = 8 * 1024 * 1024
/** Pages of a list, and questions of one call, that are asked for at most. */
const MAX_ROUNDS = 20

/** The server said no to the request as a whole. */
export class Refused extends Error {
  /** @param {Refusal} refusal */
  constructor(refusal) {
    super(`The server refused the request (HTTP ${refusal.status})`)
    this.refusal = refusal
  }
}

/** The server answered with a JSON-RPC error. Its text is fixed by the server. */
export class Failed extends Error {}

/** No answer, or not all of it: the network, the server, or a server that allows no page of this origin. */
export class Lost extends Error {}

/**
 * @typedef {object} Exchange
 * @property {AbortSignal} signal aborting it closes the stream, which cancels the call at the server
 * @property {(notification: Notification) => void} [onNotification] hears each one as it arrives
 * @property {Record<string, string>} [headers]
 * @property {Record<string, unknown>} [meta]
 */

/**
 * @param {string} url of the MCP endpoint
 * @param {string} credential API key or access token
 */
export function mcpClient(url, credential) {
  let lastId = 0

  /**
   * @param {string} method
   * @param {Record<string, unknown>} params
   * @param {Exchange} exchange
   * @returns {Promise<any>} the result
   * @throws {Refused | Failed | Lost}
   */
  async function request(method, params, { signal, onNotification, headers = {}, meta = {} }) {
    lastId += 1
    const id = lastId
    const _meta = {
      [`${META}protocolVersion`]: VERSION,
      [`${META}clientInfo`]: { name: 'gatehouse-browser-example', version: '1.0.0' },
      [`${META}clientCapabilities`]: { elicitation: { form: {} } },
      ...meta,
    }
    const message = { jsonrpc: '2.0', id, method, params: { ...params, _meta } }
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${credential}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'mcp-protocol-version': VERSION,
          'mcp-method': method,
          ...headers,
        },
        body: JSON.stringify(message),
        signal,
        credentials: 'omit',
        cache: 'no-store',
        redirect: 'error',
        referrerPolicy: 'no-referrer',
      })
      if (!response.ok) throw new Refused(await refusalOf(response))
      const answer = await answerTo(id, response, onNotification)
      if (answer.error !== undefined) throw new Failed(`${answer.error.message}`)
      return answer.result
    } catch (error) {
      if (signal.aborted || error instanceof Refused || error instanceof Failed) throw error
      throw new Lost('No answer', { cause: error })
    }
  }

  return {
    /**
     * @param {AbortSignal} signal
     * @returns {Promise<{ name: string }>}
     */
    async discover(signal) {
      const result = await request('server/discover', {}, { signal })
      return { name: `${result._meta?.[`${META}serverInfo`]?.name ?? 'MCP server'}` }
    },

    /**
     * @param {AbortSignal} signal
     * @returns {Promise<Tool[]>}
     */
    async listTools(signal) {
      const tools = []
      let cursor
      for (let page = 0; page < MAX_ROUNDS; page += 1) {
        const params = cursor === undefined ? {} : { cursor }
        const result = await request('tools/list', params, { signal })
        tools.push(...result.tools)
        cursor = result.nextCursor
        if (cursor === undefined) break
      }
      return tools
    },

    /**
     * @param {Tool} tool
     * @param {Record<string, unknown>} args
     * @param {object} options
     * @param {AbortSignal} options.signal
     * @param {string} options.level least severity of log messages that the server sends
     * @param {(notification: Notification) => void} options.onNotification
     * @param {(request: InputRequest) => Promise<InputResponse>} options.ask asks the person
     * @returns {Promise<CallResult>}
     */
    async callTool(tool, args, { signal, level, onNotification, ask }) {
      const exchange = {
        signal,
        onNotification,
        headers: {
          'mcp-name': headerValue(tool.name),
          ...parameterHeaders(tool.inputSchema, args),
        },
        meta: { progressToken: `call-${lastId + 1}`, [`${META}logLevel`]: level },
      }
      let params = { name: tool.name, arguments: args }
      for (let round = 0; round < MAX_ROUNDS; round += 1) {
        /** @type {CallResult} */
        const result = await request('tools/call', params, exchange)
        if (result.resultType !== 'input_required') return result
        /** @type {Record<string, InputResponse>} */
        const inputResponses = {}
        for (const [name, question] of Object.entries(result.inputRequests ?? {})) {
          inputResponses[name] = await ask(question)
        }
        const { requestState } = result
        params = { ...params, ...{ inputResponses, ...(requestState && { requestState }) } }
      }
      throw new Failed('The tool asks too many questions.')
    },

    /**
     * An open stream that hears when the list of tools changes. It is also how the page notices that
     * the server is gone.
     *
     * @param {{ onOpen: () => void, onChange: () => void }} on
     * @param {AbortSignal} signal
     * @returns {Promise<void>} when the server ends it
     */
    async listen({ onOpen, onChange }, signal) {
      await request(
        'subscriptions/listen',
        { notifications: { toolsListChanged: true } },
        {
          signal,
          onNotification({ method }) {
            if (method === 'notifications/subscriptions/acknowledged') onOpen()
            if (method === 'notifications/tools/list_changed') onChange()
          },
        },
      )
    },
  }
}

/**
 * @param {number} id
 * @param {Response} response
 * @param {((notification: Notification) => void) | undefined} onNotification
 */
async function answerTo(id, response, onNotification) {
  if (response.headers.get('content-type')?.startsWith('application/json')) return response.json()
  if (response.body === null) throw new Lost('No body')
  const events = response.body
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ maxBufferSize: MAX_EVENT_LENGTH }))
    .getReader()
  for (;;) {
    const { done, value } = await events.read()
    if (done) throw new Lost('The stream ended before its answer')
    const message = JSON.parse(value.data)
    if (message.id === id && message.method === undefined) return message
    if (message.id === undefined) onNotification?.(message)
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Refusal>}
 */
async function refusalOf(response) {
  const { status, headers } = response
  const body = await response.json().catch(() => undefined)
  const challenge = headers.get('www-authenticate') ?? ''
  const scope = /\bscope="([^"]*)"/.exec(challenge)?.[1] ?? ''
  const seconds = Number.parseInt(headers.get('retry-after') ?? '', 10)
  return {
    status,
    code: body?.error?.code,
    scopes: scope.split(' ').filter((name) => name !== ''),
    retryAfterSeconds: Number.isNaN(seconds) ? undefined : seconds,
    requestId: headers.get('x-request-id') ?? undefined,
  }
}
