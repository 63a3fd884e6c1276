/** Why nothing usable came back. */
export type OutboundFault =
  | 'address'
  | 'network'
  | 'timeout'
  | 'redirect'
  | 'status'
  | 'not-json'
  | 'encoding'
  | 'too-large'
  | 'cancelled'

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
