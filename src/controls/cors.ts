import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import type { RawHeaders } from '../raw-headers.ts'
import type { AllowedOrigin } from './origin-guard.ts'

/** The CORS headers of one answer. Every answer gets them from this one function. */
export type CorsHeaders = (headers: RawHeaders) => Readonly<Record<string, string>>

/**
 * Threat:  A page of another origin reads answers, or a cache hands the answer for one origin to
 *          another.
 * Rule:    an allowed origin is answered with itself, any other with no CORS header at all. Methods
 *          and headers are fixed lists, nothing is reflected, there is no credentials mode.
 * Policy:  policies/http.yaml `origins`
 * Refuses: nothing: `origin-guard` has refused foreign origins before
 * Source:  Fetch Standard §3.2 (CORS protocol); OWASP ASVS 5.0 3.4.2; RFC 9110 §12.5.5 (Vary)
 */
export function cors(
  corsHeaders: CorsHeaders,
  options: PreflightOptions,
): MiddlewareHandler<AppEnv> {
  const preflight = {
    'access-control-allow-methods': [...new Set(options.methods)].join(', '),
    'access-control-allow-headers': [...ALLOWED_HEADERS, ...options.extraHeaders].join(', '),
    'access-control-max-age': '600',
  }

  return async function cors(c, next) {
    const headers = corsHeaders(c.get('headers'))
    const isPreflight =
      c.req.method === 'OPTIONS' &&
      c.get('headers').has('origin') &&
      c.get('headers').has('access-control-request-method')
    if (isPreflight) c.res = new Response(null, { status: 204, headers: preflight })
    else await next()
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value)
  }
}

export interface PreflightOptions {
  readonly methods: readonly string[]
  /** The configured API key header, and `Mcp-Param-*` of the tools. */
  readonly extraHeaders: readonly string[]
}

export function corsHeaders(isAllowed: AllowedOrigin): CorsHeaders {
  return function corsHeaders(headers) {
    const [origin, second] = headers.get('origin') ?? []
    if (origin === undefined || second !== undefined || !isAllowed(origin)) {
      return { vary: 'Origin' }
    }
    return {
      vary: 'Origin',
      'access-control-allow-origin': origin,
      'access-control-expose-headers': EXPOSED_HEADERS,
    }
  }
}

const ALLOWED_HEADERS = [
  'Authorization',
  'Content-Type',
  'Accept',
  'MCP-Protocol-Version',
  'Mcp-Method',
  'Mcp-Name',
  'Mcp-Session-Id',
  'Last-Event-ID',
  'DPoP',
  'traceparent',
  'tracestate',
] as const

const EXPOSED_HEADERS = [
  'WWW-Authenticate',
  'DPoP-Nonce',
  'Retry-After',
  'RateLimit',
  'RateLimit-Policy',
  'Mcp-Session-Id',
  'x-request-id',
].join(', ')
