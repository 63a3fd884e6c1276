import type { FetchLike } from '@modelcontextprotocol/client'
import { z } from 'zod'
import { EXIT, Failed } from './failures.ts'
import { isLoopback, mayCarrySecrets } from './secure-url.ts'

const TIMEOUT_MS = 15_000

/** RFC 6749 §5.2, RFC 7591 §3.2.2. The description is free text of a stranger, so it is not read. */
const errorBody = z.object({ error: z.string().regex(/^[a-z_]{1,60}$/) })

/** The issuer answered a request for tokens or for a registration with a refusal. */
export class IssuerRefused extends Error {
  /** An error code of RFC 6749 §5.2 or of an extension; empty when the answer names none. */
  readonly code: string

  constructor(code: string) {
    super(`The issuer refused: ${code}`)
    this.code = code
  }
}

/**
 * Every request to an issuer goes through this, discovery included.
 *
 * Threat:  a server names an issuer, and an issuer its endpoints. A bad one sends secrets over an open
 *          network, or this client against a service on the person's own machine.
 * Rule:    https, or http on loopback; loopback only when the MCP server itself is there. A redirect
 *          fails, unless the SDK asks for it, which then follows it within one origin. No header of
 *          the MCP request, so no key, comes here.
 *          Not covered: https services of a private network, which may be the issuer's right place.
 * Refuses: 4, before anything is sent
 * Source:  MCP 2026-07-28 Authorization, Communication Security; Security Best Practices, SSRF
 *
 * @throws {IssuerRefused} for an answer to a POST that is no success. The SDK would write the
 *   issuer's text to the console, and send the same request a second time.
 * @throws {Failed} 3 for one that says nothing about the request: 429 and 5xx.
 */
export function issuerFetch(server: URL, cancelled: AbortSignal): FetchLike {
  return async (input, init) => {
    const url = assertIssuerUrl(new URL(input), server)
    const limits = [cancelled, AbortSignal.timeout(TIMEOUT_MS)]
    const signal = AbortSignal.any(limits)
    const response = await fetch(url, { redirect: 'error', ...init, signal })
    if (init?.method !== 'POST' || response.ok) return response
    if (response.status === 429 || response.status >= 500) throw unavailable(response)
    const body = errorBody.safeParse(await response.json().catch(() => undefined))
    throw new IssuerRefused(body.data?.error ?? '')
  }
}

function unavailable({ status }: Response): Failed {
  return new Failed({
    exitCode: EXIT.unreachable,
    text: `The issuer is temporarily unavailable (HTTP ${status}).`,
    hint: 'Try again later.',
  })
}

/** @throws {Failed} unless the rule above holds. */
export function assertIssuerUrl(url: URL, server: URL): URL {
  if (mayCarrySecrets(url) && (!isLoopback(url) || isLoopback(server))) return url
  throw new Failed({
    exitCode: EXIT.refused,
    text: `The issuer that ${server.origin} names is not safe to talk to: ${url.origin}.`,
    hint: 'An issuer is reached over https; on this machine only when the server is here too.',
  })
}
