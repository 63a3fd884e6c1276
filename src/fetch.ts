/** What a tool sends to another service. */
export interface FetchOptions {
  /** GET when left out. */
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** None of the connection, and no credential: `policies/egress.yaml` names the one that is added. */
  readonly headers?: Readonly<Record<string, string>>
  /** Not with GET and HEAD. */
  readonly body?: string | Uint8Array
}

/** An answer of another service, whatever its status. */
export interface Fetched {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array
  /** @throws {TypeError} when it is not UTF-8 */
  text(): string
  /** @throws {TypeError | SyntaxError} when it is not JSON in UTF-8 */
  json(): unknown
}

/**
 * Sends a request to a destination that `policies/egress.yaml` lists for this tool, and waits for the
 * whole answer. There is no other way out: what else opens a connection is not checked by anybody.
 *
 * @throws {EgressError}
 */
export type Fetch = (url: string | URL, options?: FetchOptions) => Promise<Fetched>

const EGRESS_FAULTS = {
  'not-allowed': 'policies/egress.yaml lists no such destination for this tool',
  'bad-request': 'URL, header or body is not one that may be sent',
  'too-large-request': 'the body is larger than requestBytes of its destination',
  'too-many': 'one call has sent too many requests',
  redirect: 'the answer was a redirect that is not followed',
  address: 'the host has an address that may not be reached',
  network: 'there was no connection, or it broke',
  timeout: 'the answer took longer than timeoutMs of its destination',
  encoding: 'the answer was compressed',
  'too-large': 'the answer was larger than responseBytes of its destination',
  cancelled: 'the call had ended',
} as const

/** Why `ctx.fetch` brought nothing back. */
export type EgressFault = keyof typeof EGRESS_FAULTS

/** Thrown by `ctx.fetch`. The message is for the author of the tool, and names nothing that was sent. */
export class EgressError extends Error {
  readonly fault: EgressFault

  constructor(fault: EgressFault, options?: ErrorOptions) {
    super(`${fault}: ${EGRESS_FAULTS[fault]}`, options)
    this.name = 'EgressError'
    this.fault = fault
  }
}
