import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import { single } from '../raw-headers.ts'

/**
 * Threat:  DNS rebinding. A name of the attacker resolves to this server, and the browser of a
 *          victim calls it as same-origin: no CORS check applies, only the Host header tells.
 * Rule:    exactly one Host; lower-cased, it must equal an allowed authority, byte for byte, port
 *          included. Nothing is canonicalized: `127.1` or `0x7f.1` are not `127.0.0.1`. The authority
 *          of an absolute-form target must equal Host.
 * Policy:  policies/http.yaml `hosts`, and `MCP_PUBLIC_URL`
 * Refuses: 400 `host-guard.malformed`, `host-guard.authority-mismatch`; 421 `host-guard.not-allowed`
 * Source:  MCP 2026-07-28 Streamable HTTP, Security; RFC 9112 §3.2 and §3.2.2; RFC 9110 §15.5.20;
 *          CVE-2025-66414, CVE-2025-66416
 */
export function hostGuard(allowedHosts: readonly string[]): MiddlewareHandler<AppEnv> {
  const allowed = new Set(allowedHosts)

  return async function hostGuard(c, next) {
    const host = single(c.get('headers'), 'host')?.toLowerCase()
    if (host === undefined || !AUTHORITY.test(host)) throw new Denied('host-guard.malformed')
    const authority = ABSOLUTE_FORM.exec(c.env.incoming.url ?? '')?.[1]?.toLowerCase()
    if (authority !== undefined && authority !== host) {
      throw new Denied('host-guard.authority-mismatch')
    }
    if (!allowed.has(host)) throw new Denied('host-guard.not-allowed')
    await next()
  }
}

/** A registered name, IPv4 address or bracketed IPv6 address, and a port (RFC 3986 §3.2). */
const AUTHORITY = /^(?:[a-z0-9](?:[a-z0-9.-]{0,253})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/
const ABSOLUTE_FORM = /^https?:\/\/([^/?#]*)/
