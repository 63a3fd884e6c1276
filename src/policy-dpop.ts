// optional: dpop
import type { z } from 'zod'

interface Issuer {
  readonly senderConstraint: string
  readonly tokenTypes: readonly string[]
}

/** Refuses what does not go together in the list of issuers: `oauth4webapi` knows `at+jwt` alone. */
export function checkDpop(
  issuers: readonly Issuer[],
  { addIssue }: z.core.$RefinementCtx<readonly Issuer[]>,
): void {
  for (const [index, { senderConstraint, tokenTypes }] of issuers.entries()) {
    if (senderConstraint !== 'dpop' || tokenTypes.every((type) => type === 'at+jwt')) continue
    const message = 'must be ["at+jwt"] with "senderConstraint: dpop"'
    addIssue({ code: 'custom', path: [index, 'tokenTypes'], message, input: issuers })
  }
}
