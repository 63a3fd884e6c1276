import { OAuthClientFlowError } from '@modelcontextprotocol/client'
import { causeOf, EXIT, Failed } from './failures.ts'
import { IssuerRefused } from './issuer-fetch.ts'

/** What an issuer's refusal means for the person (RFC 6749 §4.1.2.1, §5.2). */
const HINTS = new Map([
  ['access_denied', 'You, or a policy of the issuer, said no.'],
  [
    'invalid_scope',
    'It does not give one of the scopes that were asked for, or not to this client.',
  ],
  ['invalid_client', 'Are --client-id and --client-secret-file right?'],
  ['unauthorized_client', 'Are --client-id and --client-secret-file right?'],
  [
    'invalid_redirect_uri',
    'Register http://127.0.0.1/callback, or a fixed one with --redirect-port.',
  ],
  ['invalid_target', 'It does not know this server as a resource.'],
])

/** @param code as received; shown only when it looks like one */
export function explainRefusal(code: string): Failed {
  const name = /^[a-z_]{1,60}$/.test(code) ? `: ${code}` : ''
  const hint = HINTS.get(code)
  const text = `The issuer refused the login${name}.`
  return new Failed({ exitCode: EXIT.refused, text, ...(hint === undefined ? {} : { hint }) })
}

/**
 * Anything that `auth()` of the SDK throws. Messages of its errors are not shown: they quote what
 * the issuer sent, which may be a token.
 */
export function explainLogin(
  error: unknown,
  { timeoutMs }: { readonly timeoutMs: number },
): unknown {
  if (error instanceof Failed) return error
  if (error instanceof IssuerRefused) return explainRefusal(error.code)
  if (error instanceof OAuthClientFlowError) {
    const failure = {
      exitCode: EXIT.refused,
      text: 'The answer does not come from the issuer of this server, so it was not used.',
      hint: 'Somebody may stand between you and the issuer; tell the operator of the server.',
    }
    return new Failed(failure, { cause: error })
  }
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    const failure = {
      exitCode: EXIT.unreachable,
      text: `No answer arrived within ${timeoutMs / 1000} s, so the login was given up.`,
      hint: 'Allow more with --timeout SECONDS. Over ssh, forward a port and name it: --redirect-port.',
    }
    return new Failed(failure, { cause: error })
  }
  if (error instanceof TypeError) {
    const failure = {
      exitCode: EXIT.unreachable,
      text: `Cannot connect to the issuer${causeOf(error)}.`,
      hint: 'Is it running, and can this machine reach it?',
    }
    return new Failed(failure, { cause: error })
  }
  const failure = {
    exitCode: EXIT.refused,
    text: 'The login failed: the metadata or an answer of the issuer makes no sense.',
    hint: 'The operator of the server can check both with their addresses under /.well-known/.',
  }
  return new Failed(failure, { cause: error })
}
