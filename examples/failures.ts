import {
  computeScopeUnion,
  extractWWWAuthenticateParams,
  ProtocolError,
  SdkError,
  SdkErrorCode,
} from '@modelcontextprotocol/client'
import type { Arguments } from './arguments.ts'
import type { Login } from './login-store.ts'
import type { Failure } from './terminal.ts'

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  refused: 4,
  limited: 5,
  cancelled: 130,
} as const

/** Something ended the command for a reason that is known in full. */
export class Failed extends Error {
  readonly failure: Failure

  constructor(failure: Failure, options?: ErrorOptions) {
    super(failure.text, options)
    this.failure = failure
  }
}

/** The last answer to a POST, absent while there is none. Errors of the SDK do not carry all of it. */
export interface Exchange {
  response?: Response
  /** Whose token was sent; absent when a key was, or nothing. */
  login?: Login | undefined
}

/** What failed, in words for the person at the terminal, and what to do next. */
export function explain(error: unknown, exchange: Exchange, options: Arguments): Failure {
  if (error instanceof Failed) return error.failure
  const { response, login } = exchange
  const { url, timeoutMs, era } = options
  if (response !== undefined && !response.ok) {
    const failure = explainStatus(response, options.key, login)
    if (failure !== undefined) return failure
  }
  if (error instanceof ProtocolError) {
    return { exitCode: EXIT.failed, text: `The server answered: ${error.message} (${error.code})` }
  }
  if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout) {
    return {
      exitCode: EXIT.unreachable,
      text: `Nothing arrived for ${timeoutMs / 1000} s, so the call was given up.`,
      hint: 'Allow more with --timeout SECONDS.',
    }
  }
  const asked = era === 'auto' ? '' : ' Does the server speak the revision that --era asks for?'
  if (response === undefined) {
    return {
      exitCode: EXIT.unreachable,
      text: `Cannot connect to ${url.origin}${causeOf(error)}.`,
      hint: 'Is the server running, and is the URL right?',
    }
  }
  return {
    exitCode: EXIT.unreachable,
    text: `No usable answer from ${url.href} (HTTP ${response.status}${reference(response)}).`,
    hint: `Is this the URL of an MCP endpoint? It usually ends with /mcp.${asked}`,
  }
}

/** The answers that have a meaning of their own, whatever the body says. */
function explainStatus(
  response: Response,
  key: string | undefined,
  login: Login | undefined,
): Failure | undefined {
  const { status, headers } = response
  const where = `(HTTP ${status}${reference(response)})`
  const seconds = headers.get('retry-after')
  const retry = seconds === null ? 'Try again later.' : `Try again in ${seconds} s.`

  switch (status) {
    case 401:
      return {
        exitCode: EXIT.refused,
        text: `The server wants ${(key ?? login) === undefined ? 'a' : 'another'} credential ${where}.`,
        hint: hintFor401(key, login),
      }
    case 403: {
      return {
        exitCode: EXIT.refused,
        text: `You are not allowed to do this ${where}.`,
        hint: hintFor403(extractWWWAuthenticateParams(response).scope, login),
      }
    }
    case 413:
      return {
        exitCode: EXIT.failed,
        text: `The request is larger than the server takes ${where}.`,
        hint: 'Send fewer or smaller documents at a time.',
      }
    case 429:
      return { exitCode: EXIT.limited, text: `Too many requests ${where}.`, hint: retry }
    case 503:
      return {
        exitCode: EXIT.unreachable,
        text: `The server is temporarily unavailable ${where}.`,
        hint: retry,
      }
    default:
      return undefined
  }
}

function hintFor401(key: string | undefined, login: Login | undefined): string {
  if (key !== undefined) return 'The key may be mistyped, expired or revoked.'
  if (login !== undefined) return 'It does not take the token of your login. Log in again: login'
  return 'Use the command login, or give a key with --key or in GATEHOUSE_KEY.'
}

/** Scope tokens (RFC 6749 §3.3) without the quote: the hint is a command that people copy. */
const QUOTABLE = /^[\x21\x23-\x26\x28-\x5b\x5d-\x7e]+( [\x21\x23-\x26\x28-\x5b\x5d-\x7e]+)*$/

function hintFor403(needed: string | undefined, login: Login | undefined): string {
  if (needed === undefined) return 'A policy of the server refuses it; ask its operator.'
  if (login === undefined) return `It needs a key with the scopes: ${needed}`
  const scopes = computeScopeUnion(login.scope, needed) ?? ''
  return QUOTABLE.test(scopes) ? `Log in with more: login --scope '${scopes}'` : 'Log in with more.'
}

/** The id under which the operator finds this request in the logs. */
function reference({ headers }: Response): string {
  const id = headers.get('x-request-id')
  return id === null ? '' : `, request ${id}`
}

/** `ECONNREFUSED` and the like: the innermost error that has a code. Those of the SDK say no more. */
export function causeOf(error: unknown): string {
  let code = ''
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SdkError) continue
    if ('code' in cause && typeof cause.code === 'string') code = `: ${cause.code}`
  }
  return code
}
