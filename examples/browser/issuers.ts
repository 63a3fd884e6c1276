import { z } from 'zod'
import { mayCarrySecrets } from '../secure-url.ts'

const metadata = z.object({ authorization_servers: z.array(z.url()).default([]) })

const TIMEOUT_MS = 5000

/**
 * Origins of the issuers that a server names in its metadata (RFC 9728 §3), for the page's policy. Empty
 * when it names none: the page can do without.
 */
export async function issuerOrigins(server: string): Promise<readonly string[]> {
  const { pathname } = new URL(server)
  const url = new URL(`/.well-known/oauth-protected-resource${pathname}`, server)
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const response = await fetch(url, { redirect: 'error', signal }).catch(() => undefined)
  if (response?.ok !== true) return []
  const { data } = metadata.safeParse(await response.json().catch(() => undefined))
  const issuers = (data?.authorization_servers ?? []).map((issuer) => new URL(issuer))
  return issuers.filter(mayCarrySecrets).map(({ origin }) => origin)
}
