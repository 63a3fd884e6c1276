// optional: legacy-sessions
import type { Context, MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { Denied } from '../errors.ts'
import { MODERN_REVISIONS, unsupported } from '../mcp/era.ts'
import type { Session } from '../mcp/sessions/session.ts'
import { ownerKey } from '../owner-key.ts'
import { single } from '../raw-headers.ts'
import type { AuthorizeOptions } from './authorize.ts'

export interface SessionGuardOptions extends Pick<AuthorizeOptions, 'baseScope' | 'challenge'> {
  /** The revisions that are served in sessions, by path. A path that is not here has no sessions. */
  readonly revisions: ReadonlyMap<string, readonly string[]>
  /** @returns the living session of this path and owner (`ownerKey`) */
  readonly find: (id: string, path: string, owner: string) => Session | undefined
}

/**
 * Threat:  Session hijacking: whoever guesses, steals or plants a session id reads what another was
 *          sent, or answers in the place of another. Collecting sessions until there is room for none.
 * Rule:    an id is no credential. Every request of a session is authenticated as any other, and the
 *          session belongs to (kind, issuer, client, subject) of who began it: another credential of
 *          the same owner may use it, a credential of anyone else may not. A foreign, an unknown and
 *          an ended id get the same answer. Ids are ours, 256 bits of the CSPRNG: one that a client
 *          brings to `initialize` begins nothing. A session ends when idle, at its age, on DELETE, at
 *          shutdown, and when a credential that used it is revoked and no other that did still holds.
 *          One that expires ends its streams, and leaves the session to the next one of its owner
 *          until it is idle. Requests of 2026-07-28 have no sessions: an id that comes along is ignored.
 * Policy:  policies/http.yaml `protocol.legacy`, `protocol.httpSse`, `sessions`
 * Refuses: 400 `session-guard.missing`, `session-guard.initialized`, `session-guard.duplicate-id`,
 *          `session-guard.unasked`, `session-guard.unknown-method` (a 404 would tell the client that
 *          its session has ended); 404 `session-guard.not-found`; 429 `session-guard.per-principal`;
 *          503 `session-guard.total`
 * Source:  MCP 2025-11-25 Streamable HTTP, Session Management; Security Best Practices, Session
 *          Hijacking; OWASP ASVS 5.0 7.2.3, 7.3.1, 7.3.2, 7.4.1; CVE-2025-6515 (predictable ids)
 *
 * Here: who owns the session, and the base scope, which GET, DELETE and the answers of a client are
 * not asked for elsewhere. The rest is refused where it is known (`mcp/sessions`).
 */
export function sessionGuard(options: SessionGuardOptions): MiddlewareHandler<AppEnv> {
  const { find, baseScope, challenge } = options

  return async function sessionGuard(c, next) {
    const path = c.get('path')
    const revisions = options.revisions.get(path)
    const id = sessionIdOf(c)
    const needsOne = c.env.incoming.method !== 'POST' && path !== '/sse'
    const version = single(c.get('headers'), 'mcp-protocol-version')
    const isModern = !needsOne && MODERN_REVISIONS.includes(version ?? '')
    if (revisions === undefined || (path === '/mcp' && isModern)) return next()
    const { principal } = c.get('identity')
    if (!principal.scopes.includes(baseScope)) {
      const scheme = c.get('credential')?.scheme ?? 'bearer'
      const headers = { 'www-authenticate': challenge([baseScope], scheme) }
      throw new Denied('authorize.missing-scope', { headers })
    }
    if (id === undefined) {
      if (needsOne) throw new Denied('session-guard.missing')
      return next()
    }
    if (version !== undefined && !revisions.includes(version)) throw unsupported(revisions, version)
    const session = find(id, path, ownerKey(principal))
    if (session === undefined) throw new Denied('session-guard.not-found')
    c.set('session', session)
    c.set('era', 'legacy')
    session.use(c)
    await next()
  }
}

/** In the header; in the query of the transport of 2024-11-05, whose form `route` has checked. */
function sessionIdOf(c: Context<AppEnv>): string | undefined {
  if (c.get('path') !== '/messages') return single(c.get('headers'), 'mcp-session-id')
  return c.env.incoming.url?.split('?sessionId=')[1]
}
