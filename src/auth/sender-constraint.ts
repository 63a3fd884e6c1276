// optional: oauth
import type { IssuerPolicy } from '../policy.ts'
import type { Credential, Fault } from './strategy.ts'

type SenderConstraint = IssuerPolicy['senderConstraint']

/** How tokens under a constraint are sent, and the one member that their `cnf` has. */
interface Confirmation {
  readonly scheme: Credential['scheme']
  readonly member: string
}

const CONFIRMATIONS: Readonly<Record<Exclude<SenderConstraint, 'none'>, Confirmation>> = {
  mtls: { scheme: 'bearer', member: 'x5t#S256' },
  dpop: { scheme: 'dpop', member: 'jkt' }, // optional: dpop
}

/** SHA-256 as base64url in its only canonical form: the last character carries four bits. */
const THUMBPRINT = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/

/**
 * Threat:  A stolen token. Whoever has read it sends it as if it were theirs.
 * Rule:    the issuer's policy says how its tokens are bound, and each of them must be bound in that
 *          way and no other: `none` has no `cnf`, `mtls` exactly `x5t#S256`, equal to the certificate
 *          of this connection, `dpop` exactly `jkt`, sent with the scheme `DPoP`. A binding that is
 *          not asked for is refused, because ignoring it would undo it.
 * Policy:  policies/auth.yaml `issuers[].senderConstraint`
 * Refuses: nothing: says why, on every request
 * Source:  RFC 7800 §3.1; RFC 8705 §3 and §3.1; RFC 9449 §6.1 and §7.2
 *
 * The proof of a DPoP key belongs to one request and is verified apart from this.
 *
 * @param claims of a token that its issuer has vouched for
 * @returns `undefined` when the token may be used as it was sent
 */
export function constraintFault(
  claims: Readonly<Record<string, unknown>>,
  constraint: SenderConstraint,
  { scheme, certificate }: Pick<Credential, 'scheme' | 'certificate'>,
): Extract<Fault, 'sender-constrained' | 'certificate'> | undefined {
  if (constraint === 'none') {
    return scheme === 'bearer' && !('cnf' in claims) ? undefined : 'sender-constrained'
  }
  const confirmation = CONFIRMATIONS[constraint]
  const thumbprint = onlyMember(claims['cnf'], confirmation.member)
  if (scheme !== confirmation.scheme || thumbprint === undefined) return 'sender-constrained'
  return constraint === 'mtls' && thumbprint !== certificate ? 'certificate' : undefined
}

/** @returns the thumbprint, when it is the only member of that object and has its canonical form. */
function onlyMember(cnf: unknown, name: string): string | undefined {
  if (typeof cnf !== 'object' || cnf === null) return undefined
  const [member, second] = Object.entries(cnf)
  if (member === undefined || second !== undefined || member[0] !== name) return undefined
  const value: unknown = member[1]
  return typeof value === 'string' && THUMBPRINT.test(value) ? value : undefined
}
