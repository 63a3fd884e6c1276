import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { EXIT, Failed } from './failures.ts'

const PATH = '/callback'

/** Parameters that matter of an answer to an authorization request (RFC 6749 §4.1.2, RFC 9207 §2). */
export interface RedirectAnswer {
  readonly code: string | undefined
  readonly error: string | undefined
  readonly iss: string | undefined
}

export interface RedirectListener extends AsyncDisposable {
  /** The `redirect_uri`. */
  readonly url: URL
  readonly state: string
  /** @throws the reason of the signal. */
  answer(signal: AbortSignal): Promise<RedirectAnswer>
}

/**
 * Where the browser brings the answer of the issuer.
 *
 * Threat:  a page, or another program of this machine, hands this client a code of its own choice
 *          (login under the attacker's account), or ends the login before its time.
 * Rule:    127.0.0.1 only, one path, GET, its own `Host` (DNS rebinding), each parameter at most once,
 *          and the `state` of this login. Anything else gets a fixed page and changes nothing; the
 *          first right answer is the last: the port is closed.
 *          Not covered: who may read the browser's history finds the code there; it works once, and
 *          only with the verifier that never leaves this process (PKCE).
 * Refuses: 400, 404, 405, on the page alone
 * Source:  RFC 8252 §7.3, §8.3, §8.9; RFC 9700 §4.7
 *
 * @param port 0 for a free one
 * @throws {Failed} when the port is taken.
 */
export async function listenForRedirect(port: number): Promise<RedirectListener> {
  const state = randomBytes(32).toString('base64url')
  const { promise, resolve } = Promise.withResolvers<RedirectAnswer>()
  let authority = ''
  let isOpen = true

  const server = createServer(
    { requestTimeout: 5000, headersTimeout: 5000 },
    (request, response) => {
      const verdict = isOpen ? judge(request, authority, state) : 400
      const isAnswer = typeof verdict !== 'number'
      response.writeHead(isAnswer ? 200 : verdict, HEADERS).end(page(isAnswer ? DONE : NOTHING))
      if (!isAnswer) return
      isOpen = false
      server.close()
      resolve(verdict)
    },
  )
  server.listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
  } catch (cause) {
    const failure = {
      exitCode: EXIT.usage,
      text: `Port ${port} of 127.0.0.1 is taken.`,
      hint: 'Choose another with --redirect-port PORT.',
    }
    throw new Failed(failure, { cause })
  }
  const address = server.address()
  authority = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`

  return {
    url: new URL(`http://${authority}${PATH}`),
    state,
    answer(signal) {
      const given = Promise.withResolvers<never>()
      signal.addEventListener('abort', () => given.reject(signal.reason), { once: true })
      if (signal.aborted) given.reject(signal.reason)
      return Promise.race([promise, given.promise])
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** @returns the answer, or the status for what is none. */
function judge(
  request: IncomingMessage,
  authority: string,
  state: string,
): RedirectAnswer | number {
  const { method, headers, url = '' } = request
  if (headers.host !== authority) return 400
  const target = URL.parse(url, `http://${authority}`)
  if (target?.host !== authority || target.pathname !== PATH) return 404
  if (method !== 'GET') return 405

  const { searchParams } = target
  const one = (name: string): string | undefined => searchParams.get(name) ?? undefined
  if (new Set(searchParams.keys()).size !== searchParams.size) return 400
  if (one('state') !== state) return 400
  const answer = { code: one('code'), error: one('error'), iss: one('iss') }
  return (answer.code === undefined) === (answer.error === undefined) ? 400 : answer
}

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; frame-ancestors 'none'; style-src 'unsafe-inline'",
  'cache-control': 'no-store',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  connection: 'close',
} as const

const DONE = 'The answer has arrived. You can close this window and go back to the terminal.'
const NOTHING = 'This is not the answer that the login waits for.'

function page(text: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Gatehouse</title>
<style>body { font: 1.2rem system-ui; margin: 20vh auto; max-width: 30em; padding: 0 1em }</style></head>
<body><p>${text}</p></body>
</html>
`
}
