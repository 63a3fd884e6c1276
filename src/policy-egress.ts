import { z } from 'zod'
import type { Mode } from './config.ts'
import { between, list, section, why } from './policy-shapes.ts'
import { isLoopbackUrl, isSerializedOrigin } from './urls.ts'

/** Methods of HTTP that a tool may send (RFC 9110 §9). */
export const EGRESS_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** A path, or with a final slash everything below it. As `new URL()` writes it, without escapes. */
const path = z
  .string()
  .max(1024)
  .refine(
    (value) =>
      /^\/(?:[\w.~!$&'()*+,=:@-]+(?:\/[\w.~!$&'()*+,=:@-]+)*\/?)?$/.test(value) &&
      new URL(value, 'https://host').pathname === value,
    'must be a path such as /v1/rates, or /v1/ for all that is below it, without dots or escapes',
  )

const NOT_FOR_TOOLS: ReadonlySet<string> = new Set([
  ...['authorization', 'cookie', 'cookie2', 'dpop', 'host', 'connection', 'keep-alive', 'te'],
  ...['content-length', 'content-encoding', 'accept-encoding', 'transfer-encoding', 'trailer'],
  ...['upgrade', 'expect', 'forwarded', 'via', 'x-real-ip', 'x-original-url', 'x-rewrite-url'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override'],
])
const FAMILIES_NOT_FOR_TOOLS = /^(?:proxy|sec|mcp|x-forwarded)-/

/**
 * Whether a tool may send a header. Those that speak of the connection, carry a credential or make an
 * upstream take the request for another one are not: neither are names with other characters than
 * letters, digits and hyphens, since CGI and WSGI read `X_Real_IP` as `X-Real-IP`.
 *
 * @param name in lower case
 */
export function isForTools(name: string): boolean {
  return (
    /^[a-z0-9-]{1,64}$/.test(name) && !NOT_FOR_TOOLS.has(name) && !FAMILIES_NOT_FOR_TOOLS.test(name)
  )
}

const credentialHeader = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of a header')
  .toLowerCase()
  .refine(
    (name) => name === 'authorization' || isForTools(name),
    'is a header with another meaning',
  )

function destination(mode: Mode) {
  return section({
    origin: z.string().refine(
      (value) => {
        if (!isSerializedOrigin(value)) return false
        const url = new URL(value)
        return url.protocol === 'https:' || (mode === 'development' && isLoopbackUrl(url))
      },
      { error: 'must be an origin such as https://api.example.com, without path' },
    ),
    methods: list(z.enum(EGRESS_METHODS), 1),
    paths: list(path, 1),
    /** Addresses of private networks, too. Loopback and link-local addresses stay closed. */
    private: z.boolean().default(false),
    /** The server's own, added to each request. Tools never see it; callers' tokens are never sent. */
    credential: section({
      file: z.string().min(1).max(4096),
      header: credentialHeader.default('authorization'),
      /** Stands before the credential; `null` for nothing. */
      scheme: z
        .string()
        .regex(/^[A-Za-z0-9-]{1,32}$/, 'must be a scheme such as Bearer')
        .nullable()
        .default('Bearer'),
    }).optional(),
    /** For one request with its answer, ms. */
    timeoutMs: between(100, 120_000).default(10_000),
    /** Body of a request, bytes. */
    requestBytes: between(0, 16_777_216).default(65_536),
    /** Body of an answer, bytes. */
    responseBytes: between(1024, 16_777_216).default(1_048_576),
    why,
  })
}

/** Where each tool may send requests. A tool without an entry may send none. */
export function egressPolicy(mode: Mode) {
  const destinations = z.array(destination(mode)).min(1).max(32).readonly()
  return section({ tools: z.record(z.string().min(1).max(255), destinations).readonly() })
}
