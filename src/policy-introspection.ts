// optional: introspection
import { z } from 'zod'

/** RFC 6749 appendix A.1. */
const clientId = z.string().regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 ASCII characters')

/**
 * Where an issuer says whether a token is active (RFC 7662), and who asks; `null` for one that is not
 * asked.
 *
 * @param endpoint the schema of its address
 */
export function introspectionPolicy<Endpoint extends z.ZodType<string>>(endpoint: Endpoint) {
  return z
    .strictObject({
      endpoint,
      clientId,
      /** File of the secret by which the issuer knows this server. */
      clientSecretFile: z.string().min(1),
    })
    .readonly()
    .nullable()
    .default(null)
}

interface Issuer {
  readonly verification: 'jwt' | 'introspection'
  readonly introspection: object | null
  readonly senderConstraint: string
}

/** Refuses what does not go together in the list of issuers. */
export function checkIntrospection(
  issuers: readonly Issuer[],
  { addIssue }: z.core.$RefinementCtx<readonly Issuer[]>,
): void {
  const refuse = (index: number, field: keyof Issuer, message: string): void =>
    addIssue({ code: 'custom', path: [index, field], message, input: issuers })

  for (const [index, issuer] of issuers.entries()) {
    const { verification, introspection, senderConstraint } = issuer
    if (verification === 'introspection' && introspection === null) {
      refuse(index, 'introspection', 'is missing: verification by introspection needs it')
    }
    if (verification === 'jwt' && introspection !== null) {
      refuse(index, 'introspection', 'has no effect without "verification: introspection"')
    }
    if (verification === 'introspection' && senderConstraint === 'dpop') {
      refuse(index, 'senderConstraint', 'dpop needs "verification: jwt"')
    }
    if (verification === 'introspection' && index !== issuers.findIndex(isAsked)) {
      refuse(index, 'verification', MORE_THAN_ONE)
    }
  }
}

const MORE_THAN_ONE =
  'introspection is for one issuer: an opaque token does not say whose it is, and others must not see it'

function isAsked({ verification }: Issuer): boolean {
  return verification === 'introspection'
}
