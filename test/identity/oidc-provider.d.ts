// optional: oauth
/** The part of `oidc-provider` that the tests use; the package has no types of its own. */
declare module 'oidc-provider' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  /** What a person has agreed to, for one client. */
  interface Grant {
    addOIDCScope(scope: string): void
    addResourceScope(resource: string, scope: string): void
    /** @returns its id */
    save(): Promise<string>
  }

  /** What the provider wants of the person. */
  interface Interaction {
    readonly prompt: {
      readonly name: 'login' | 'consent'
      readonly details: {
        readonly missingOIDCScope?: readonly string[]
        readonly missingResourceScopes?: Readonly<Record<string, readonly string[]>>
      }
    }
    readonly params: Readonly<Record<string, string>> & { readonly client_id: string }
    readonly session?: { readonly accountId: string }
    /** Of an earlier consent. */
    readonly grantId?: string
  }

  type Answer =
    | { readonly login: { readonly accountId: string } }
    | { readonly consent: { readonly grantId: string } }
    | { readonly error: string; readonly error_description: string }

  export default class Provider {
    constructor(issuer: string, configuration: Readonly<Record<string, unknown>>)
    readonly Grant: {
      new (of: { readonly accountId: string; readonly clientId: string }): Grant
      find(id: string): Promise<Grant | undefined>
    }
    callback(): RequestListener
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      answer: Answer,
      options: { readonly mergeWithLastSubmission: boolean },
    ): Promise<void>
  }
}

declare module 'oidc-provider/lib/adapters/memory_adapter.js' {
  /** A store of its own. Providers that share it know the same codes, tokens and registrations. */
  export function createMemoryAdapter(): (model: string) => object
}
