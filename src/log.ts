import { pino } from 'pino'
import { cleanText } from './audit/clean-text.ts'
import type { OperationFacts, RequestFacts } from './audit/trail.ts'
import type { Config, Mode } from './config.ts'

/** What the log may say of an error. */
export interface ErrorFacts {
  readonly name: string
  readonly code?: string
  /** Innermost frame in the server's own source: `src/tools/echo.ts:12:3`. */
  readonly at?: string
  /** In development only. */
  readonly message?: string
}

/**
 * Everything a log line may carry besides its fixed message. An allow-list, because a list of what to
 * redact misses what is inside of messages, stacks and new fields.
 */
export interface LogFields {
  readonly requestId?: string | undefined
  /** W3C trace id of that request. */
  readonly traceId?: string | undefined
  /** Name from a closed list of this source, such as that of a refusal or fault: never a value. */
  readonly reason?: string
  readonly tool?: string | undefined
  readonly issuer?: string
  readonly url?: string
  /** Public id of an API key, or its pseudonym: its name in the audit trail. */
  readonly keyId?: string
  /** When that key ends, RFC 3339. */
  readonly expiresAt?: string
  /** A number of things that the message names. */
  readonly count?: number
  /** Settings and policies that are wrong: names and fixed words, never values. */
  readonly problems?: readonly string[]
  /** Anything thrown; `describeError` decides what comes out. */
  readonly error?: unknown
}

/** What a log line says of a call. */
export function callFields(call: CallFacts | undefined): LogFields {
  return { requestId: call?.requestId, traceId: call?.trace?.traceId, tool: call?.name }
}

type CallFacts = Pick<OperationFacts & RequestFacts, 'requestId' | 'trace' | 'name'>

/** `message` is a fixed text of this source, never built from data. */
export type Log = (message: string, fields?: LogFields) => void

export interface Logger {
  readonly fatal: Log
  readonly error: Log
  readonly warn: Log
  readonly info: Log
  readonly debug: Log
}

/** Problems that one line names. */
const MAX_PROBLEMS = 100

/** Bytes of log that may wait for a slow reader of standard error; more are dropped. */
const MAX_WAITING_BYTES = 1_048_576

/**
 * JSON lines on standard error: `level`, `time` (UTC, RFC 3339), the allowed fields, `msg`. Written
 * without blocking and flushed at exit. A reader who is slow or gone costs log lines, nothing else.
 */
export function createLogger(level: Config['logLevel'], mode: Mode = 'production'): Logger {
  const stream = pino.destination({ dest: 2, sync: false, maxLength: MAX_WAITING_BYTES })
  stream.on('error', () => {
    // Nowhere is left to say so. Without a listener the process would end.
  })
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  )
  const at =
    (severity: 'fatal' | 'error' | 'warn' | 'info' | 'debug'): Log =>
    (message, fields = {}) =>
      logger[severity](allowed(fields, mode), cleanText(message))

  return {
    fatal: at('fatal'),
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
  }
}

/** Named one by one: what a caller passes beyond the type does not come out. */
function allowed(fields: LogFields, mode: Mode): Readonly<Record<string, unknown>> {
  const { requestId, traceId, reason, tool, issuer, url, keyId, expiresAt, count } = fields
  const { problems, error } = fields
  return {
    requestId: cleaned(requestId),
    traceId: cleaned(traceId),
    reason: cleaned(reason),
    tool: cleaned(tool),
    issuer: cleaned(issuer),
    url: cleaned(url),
    keyId: cleaned(keyId),
    expiresAt: cleaned(expiresAt),
    count: typeof count === 'number' ? count : undefined,
    problems: problems?.slice(0, MAX_PROBLEMS).map(cleanText),
    error: error === undefined ? undefined : describeError(error, mode),
  }
}

function cleaned(text: string | undefined): string | undefined {
  return text === undefined ? undefined : cleanText(text)
}

/** What a name or code of an error looks like; anything else could be data. */
const IDENTIFIER = /^\w{1,64}$/
const SOURCE = new URL('.', import.meta.url).href
const LOCATION = /^[\w./-]+\.ts:\d+:\d+$/
const MAX_STACK_LENGTH = 8192

/**
 * What a log may say of something thrown: its class, its code, and where in this server's source it
 * came from. In production never its message or stack, which carry input, tokens and queries.
 * Never throws, whatever was thrown.
 */
export function describeError(error: unknown, mode: Mode): ErrorFacts {
  try {
    if (!(error instanceof Error)) return { name: typeof error }
    const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
    const at = ownFrame(error)
    return {
      name: IDENTIFIER.test(error.name) ? error.name : 'Error',
      ...(IDENTIFIER.test(code) ? { code } : {}),
      ...(at === undefined ? {} : { at }),
      ...(mode === 'development' ? { message: cleanText(error.message) } : {}),
    }
  } catch {
    return { name: 'unreadable' } // A getter that throws, or a revoked proxy.
  }
}

/** The message is cut out first: it stands in the stack and could hold lines that look like frames. */
function ownFrame(error: Error): string | undefined {
  const stack = error.stack?.replace(error.message, '').slice(0, MAX_STACK_LENGTH) ?? ''
  for (const line of stack.split('\n')) {
    const [, location = ''] = line.split(SOURCE)
    const frame = location.replace(/\)$/, '')
    if (LOCATION.test(frame)) return `src/${frame}`
  }
  return undefined
}
