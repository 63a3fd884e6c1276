import { promises as dns, type LookupAddress } from 'node:dns'
import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { isLoopbackAddress, isPrivateAddress, isPublicAddress } from './networks.ts'
import { mustBeDocument, parseDocument, wholeOf } from './outbound-answer.ts'
import { OutboundError } from './outbound-error.ts'
import { isLoopbackUrl } from './urls.ts'

export { OutboundError, type OutboundFault } from './outbound-error.ts'

/** A form that is posted, by a client that says who it is. */
export interface FormPost {
  /** Members of `application/x-www-form-urlencoded`. */
  readonly form: Readonly<Record<string, string>>
  /** Value of the header `Authorization`. */
  readonly authorization: string
}

/** Which addresses may be reached. Those of the public internet always may. */
export interface Reach {
  /** In development, also lets a URL such as `http://localhost:8080` through. */
  readonly allowLoopback: boolean
  /** Also lets addresses of private networks through, never loopback or link-local ones. */
  readonly allowPrivate?: boolean
}

export interface OutboundOptions extends Reach {
  /** For the whole exchange, from resolving the name to the last byte. */
  readonly timeoutMs: number
  /** Size of the answer, bytes. */
  readonly maxBytes: number
}

/** What is sent. The caller has checked method and names and values of headers. */
export interface OutboundRequest {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
  /** Ends the exchange. */
  readonly signal?: AbortSignal
}

export interface OutboundAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** The only way out of this process. */
export interface Outbound {
  /**
   * Asks for a JSON document, by GET that carries nothing, or by POST of a form.
   *
   * @throws {OutboundError}
   */
  json(url: string, options: OutboundOptions & { readonly post?: FormPost }): Promise<unknown>
  /**
   * Sends a request, and takes any answer whole. A redirect is an answer like any other.
   *
   * @throws {OutboundError}
   */
  exchange(url: URL, request: OutboundRequest, options: OutboundOptions): Promise<OutboundAnswer>
}

export interface OutboundSettings {
  readonly mode: 'development' | 'production'
  /** All addresses of a host name. The resolver of the operating system unless a test says otherwise. */
  readonly resolve?: (hostname: string) => Promise<readonly LookupAddress[]>
}

/**
 * Threat:  Server-side request forgery, also by DNS rebinding and redirects; an issuer or upstream that
 *          is slow, endless or taken over.
 * Rule:    https with certificates checked. Every address of the name must be public, and the
 *          connection goes to the addresses that were checked. No redirect is followed, so that what is
 *          sent reaches nobody else; no proxy, cookie, other credential or compression; whole exchange
 *          and body are bounded. Documents are asked for by GET, or POST of a form with the credential
 *          that its caller hands over, and only strict JSON is read.
 *          In development a loopback URL may be reached over http, at loopback addresses alone. A
 *          policy may open private networks to one destination of a tool.
 * Policy:  policies/auth.yaml `jwks.timeoutMs`; policies/egress.yaml
 * Refuses: `OutboundError`; callers decide what that means
 * Source:  OWASP ASVS 5.0 13.2.6, 15.3.2; OWASP API Security API7:2023, API10:2023; CWE-918
 */
export function createOutbound({ mode, resolve = resolveAll }: OutboundSettings): Outbound {
  async function send<Answer>(
    target: URL,
    { signal, ...sent }: OutboundRequest,
    options: OutboundOptions,
    read: (response: IncomingMessage) => Promise<Answer>,
  ): Promise<Answer> {
    const mayConnect = reachable(target, options)
    // Held here: what `AbortSignal.any` makes is followed through weak references.
    const ending = new AbortController()
    const end = (): void => ending.abort()
    const timer = setTimeout(end, options.timeoutMs)
    signal?.addEventListener('abort', end, { once: true })
    if (signal?.aborted === true) end()
    try {
      const lookup = checkedLookup(resolve, mayConnect)
      return await read(await begin(target, sent, lookup, ending.signal))
    } catch (cause) {
      if (signal?.aborted === true) throw new OutboundError('cancelled', { cause })
      if (ending.signal.aborted) throw new OutboundError('timeout', { cause })
      throw cause instanceof OutboundError ? cause : new OutboundError('network', { cause })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
    }
  }

  /** @throws {OutboundError} `address` */
  function reachable(
    target: URL,
    { allowLoopback, allowPrivate = false }: Reach,
  ): (address: string) => boolean {
    const loopback = mode === 'development' && allowLoopback && isLoopbackUrl(target)
    if (!loopback && target.protocol !== 'https:') throw new OutboundError('address')
    const mayConnect = (address: string): boolean =>
      loopback
        ? isLoopbackAddress(address)
        : isPublicAddress(address) || (allowPrivate && isPrivateAddress(address))
    // Node does not look up what is an address already.
    const host = target.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0 && !mayConnect(host)) throw new OutboundError('address')
    return mayConnect
  }

  return {
    async json(url, { post, ...options }) {
      const target = URL.parse(url)
      if (target === null || target.username !== '' || target.password !== '') {
        throw new OutboundError('address')
      }
      const request =
        post === undefined
          ? { method: 'GET', headers: ACCEPT, body: undefined }
          : {
              method: 'POST',
              headers: { ...ACCEPT, ...FORM, authorization: post.authorization },
              body: new URLSearchParams(post.form).toString(),
            }
      return send(target, request, options, async (response) =>
        parseDocument(await wholeOf(response, options.maxBytes, mustBeDocument)),
      )
    },
    exchange: (url, request, options) =>
      send(url, request, options, async (response) => ({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: await wholeOf(response, options.maxBytes, () => undefined),
      })),
  }
}

async function resolveAll(hostname: string): Promise<readonly LookupAddress[]> {
  return await dns.lookup(hostname, { all: true })
}

/** Hands the socket only addresses that were checked, so that a name cannot change in between. */
function checkedLookup(
  resolve: NonNullable<OutboundSettings['resolve']>,
  mayConnect: (address: string) => boolean,
): LookupFunction {
  return function checkedLookup(hostname, { all }, callback) {
    resolve(hostname).then(
      (addresses) => {
        const [first] = addresses
        if (first === undefined || !addresses.every(({ address }) => mayConnect(address))) {
          callback(new OutboundError('address'), '', 0)
        } else if (all === true) {
          callback(null, [...addresses])
        } else {
          callback(null, first.address, first.family)
        }
      },
      (cause: unknown) => callback(new OutboundError('network', { cause }), '', 0),
    )
  }
}

const ACCEPT = { accept: 'application/json, application/*+json' }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

function begin(
  url: URL,
  { method, headers, body }: Omit<OutboundRequest, 'signal'>,
  lookup: LookupFunction,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  return new Promise((resolve, reject) => {
    request(url, {
      // A connection of its own: no pool, and no proxy from the environment.
      agent: false,
      method,
      headers: { ...headers, 'accept-encoding': 'identity' },
      lookup,
      signal,
      // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
      rejectUnauthorized: true,
    })
      .on('response', resolve)
      .on('error', reject)
      .end(body)
  })
}
