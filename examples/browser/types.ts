/** What the modules of the page tell each other. Types only: the page has no build. */

/** `/config.json` of the page's own server. */
export interface PageConfig {
  /** URL of the MCP endpoint. */
  readonly server: string
  /** How the page is registered at the issuer, as a public client; `null` when it is not. */
  readonly clientId: string | null
}

/** The part of JSON Schema 2020-12 that becomes fields; anything else is entered as JSON. */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly 'x-mcp-header'?: string
}

export interface Tool {
  readonly name: string
  readonly title?: string
  readonly description?: string
  readonly inputSchema: Schema
  readonly annotations?: { readonly destructiveHint?: boolean; readonly readOnlyHint?: boolean }
}

export interface Notification {
  readonly method: string
  readonly params?: {
    readonly progress?: number
    readonly total?: number
    readonly message?: string
    readonly level?: string
    readonly data?: unknown
  }
}

export interface CallResult {
  readonly resultType?: string
  readonly isError?: boolean
  readonly content?: readonly { readonly type: string; readonly text?: string }[]
  readonly structuredContent?: unknown
  /** Questions that come back instead of an answer (`resultType: input_required`). */
  readonly inputRequests?: Readonly<Record<string, InputRequest>>
  readonly requestState?: string
}

export interface InputRequest {
  readonly method: string
  readonly params: { readonly message: string; readonly requestedSchema?: Schema }
}

/** The answer of the person to one question. */
export interface InputResponse {
  readonly action: 'accept' | 'decline'
  readonly content?: unknown
}

/** What the server said no with, beyond its status. */
export interface Refusal {
  readonly status: number
  /** JSON-RPC error code. */
  readonly code: number | undefined
  /** Scopes that the challenge of the server asks for (RFC 6750 §3). */
  readonly scopes: readonly string[]
  readonly retryAfterSeconds: number | undefined
  readonly requestId: string | undefined
}

/** An access token, in memory alone. */
export interface Token {
  readonly accessToken: string
  readonly issuer: string
  readonly scopes: readonly string[]
}
