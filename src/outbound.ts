import { promises as dns, type LookupAddress } from 'node:dns'
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { scanJson } from './json-scan.ts'
import { isLoopbackAddress, isPublicAddress } from './networks.ts'
import { isLoopbackUrl } from './urls.ts'

/** Why nothing usable came back. */
export type OutboundFault =
  | 'address'
  | 'network'
  | 'timeout'
  | 'redirect'
  | 'status'
  | 'not-json'
  | 'too-large'

/**
 * The message is the fault alone: URLs, what was sent and what the other side said do not travel with
 * it.
 */
export class OutboundError extends Error {
  readonly fault: OutboundFault
  /** HTTP status of the answer, for the fault `status`. */
  readonly status: number | undefined

  constructor(fault: OutboundFault, options: { cause?: unknown; status?: number } = {}) {
    const { status, ...rest } = options
    super(fault, rest)
    this.name = 'OutboundError'
    this.fault = fault
    this.status = status
  }
}

/** A form that is posted, by a client that says who it is. */
export interface FormPost {
  /** Members of `application/x-www-form-urlencoded`. */
  readonly form: Readonly<Record<string, string>>
  /** Value of the header `Authorization`. */
  readonly authorization: string
}

export interface OutboundOptions {
  /** For the whole exchange, from resolving the name to the last byte. */
  readonly timeoutMs: number
  /** Size of the answer, bytes. */
  readonly maxBytes: number
  /** In development, also lets a URL such as `http://localhost:8080` through. */
  readonly allowLoopback: boolean
  /** Sent by POST. Without it the request is a GET that carries nothing. */
  readonly post?: FormPost
}

/** The only way out of this process. */
export interface Outbound {
  /**
   * Asks for a JSON document.
   *
   * @throws {OutboundError}
   */
  json(url: string, options: OutboundOptions): Promise<unknown>
}

export interface OutboundSettings {
  readonly mode: 'development' | 'production'
  /** All addresses of a host name. The resolver of the operating system unless a test says otherwise. */
  readonly resolve?: (hostname: string) => Promise<readonly LookupAddress[]>
}

/** Deepest nesting of a document that is read. */
const MAX_DEPTH = 16

/**
 * Threat:  Server-side request forgery, also by DNS rebinding and redirects; an issuer that is slow,
 *          endless or taken over.
 * Rule:    GET, or POST of a form with the credential that its caller hands over, over https with
 *          certificates checked. Every address of the name must be public, and the connection goes to
 *          the addresses that were checked. No redirect, so that what is posted reaches nobody else;
 *          no proxy, cookie, other credential or compression; whole exchange and body are bounded;
 *          only strict JSON is read.
 *          In development a loopback issuer may be reached over http, at loopback addresses alone.
 * Policy:  policies/auth.yaml `jwks.timeoutMs`
 * Refuses: `OutboundError`; callers decide what that means
 * Source:  OWASP ASVS 5.0 13.2.6, 15.3.2; OWASP API Security API7:2023, API10:2023; CWE-918
 */
export function createOutbound({ mode, resolve = resolveAll }: OutboundSettings): Outbound {
  return {
    async json(url, { timeoutMs, maxBytes, allowLoopback, post }) {
      const target = URL.parse(url)
      if (target === null || target.username !== '' || target.password !== '') {
        throw new OutboundError('address')
      }
      const loopback = mode === 'development' && allowLoopback && isLoopbackUrl(target)
      if (!loopback && target.protocol !== 'https:') throw new OutboundError('address')
      const mayConnect = loopback ? isLoopbackAddress : isPublicAddress
      // Node does not look up what is an address already.
      const host = target.hostname.replace(/^\[|\]$/g, '')
      if (isIP(host) !== 0 && !mayConnect(host)) throw new OutboundError('address')

      const signal = AbortSignal.timeout(timeoutMs)
      try {
        const response = await send(target, post, checkedLookup(resolve, mayConnect), signal)
        return parse(await read(response, maxBytes))
      } catch (cause) {
        if (signal.aborted) throw new OutboundError('timeout', { cause })
        throw cause instanceof OutboundError ? cause : new OutboundError('network', { cause })
      }
    },
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

const ACCEPT = { accept: 'application/json, application/*+json', 'accept-encoding': 'identity' }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

function send(
  url: URL,
  post: FormPost | undefined,
  lookup: LookupFunction,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp
  const body = post === undefined ? undefined : new URLSearchParams(post.form).toString()
  return new Promise((resolve, reject) => {
    request(url, {
      // A connection of its own: no pool, and no proxy from the environment.
      agent: false,
      method: post === undefined ? 'GET' : 'POST',
      headers:
        post === undefined ? ACCEPT : { ...ACCEPT, ...FORM, authorization: post.authorization },
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

async function read(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  try {
    const { statusCode = 0, headers } = response
    if (statusCode >= 300 && statusCode <= 399) throw new OutboundError('redirect')
    if (statusCode !== 200) throw new OutboundError('status', { status: statusCode })
    if (!/^application\/(?:[a-z0-9.-]+\+)?json *(?:;|$)/i.test(headers['content-type'] ?? '')) {
      throw new OutboundError('not-json')
    }
    if ((headers['content-encoding'] ?? 'identity') !== 'identity')
      throw new OutboundError('not-json')

    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of response) {
      const part: Buffer = chunk
      bytes += part.length
      if (bytes > maxBytes) throw new OutboundError('too-large')
      chunks.push(part)
    }
    return Buffer.concat(chunks)
  } finally {
    response.destroy()
  }
}

function parse(body: Buffer): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body)
    const fault = scanJson(text, MAX_DEPTH)
    if (fault === undefined) return JSON.parse(text)
  } catch {
    // What the parser says quotes the document.
  }
  throw new OutboundError('not-json')
}
