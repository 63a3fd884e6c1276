import { Failed, Lost, Refused } from './mcp.js'
import { SignInFailed } from './oauth.js'

/**
 * What went wrong, in words for the person, and what helps.
 *
 * @typedef {object} Explanation
 * @property {string} text
 * @property {readonly string[]} [scopes] a credential with these would be let through
 * @property {boolean} [needsCredential] the one that was sent is not taken
 * @property {number} [retryAfterSeconds]
 */

/**
 * @param {unknown} error
 * @returns {Explanation}
 */
export function explain(error) {
  if (error instanceof Refused) return explainStatus(error)
  if (error instanceof Failed) return { text: `The server answered: ${error.message}.` }
  if (error instanceof SignInFailed) return { text: error.message }
  if (error instanceof Lost) {
    const why = 'the network is gone, the server is down, or it does not allow pages of'
    return { text: `The connection was lost: ${why} ${location.origin}.` }
  }
  return { text: 'Something went wrong in this page.' }
}

/**
 * @param {Refused} error
 * @returns {Explanation}
 */
function explainStatus({ refusal }) {
  const { status, scopes, retryAfterSeconds, requestId } = refusal
  const where = requestId === undefined ? `HTTP ${status}` : `HTTP ${status}, request ${requestId}`
  switch (status) {
    case 401:
      return {
        text: `The server does not take this credential: mistyped, expired or revoked (${where}).`,
        needsCredential: true,
      }
    case 403:
      if (scopes.length === 0) {
        return { text: `A policy of the server does not allow this (${where}).` }
      }
      return { text: `This needs more rights: ${scopes.join(', ')} (${where}).`, scopes }
    case 413:
      return { text: `This is more than the server takes. Send less at a time (${where}).` }
    case 429:
      return {
        text: `Too many requests (${where}).`,
        ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      }
    case 503:
      return {
        text: `The server is temporarily unavailable (${where}).`,
        ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      }
    default:
      return { text: `The server refused the request (${where}).` }
  }
}
