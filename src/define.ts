import type { z } from 'zod'
import type { Principal } from './context.ts'
import type { Fetch } from './fetch.ts'

/** The eight severities of MCP log notifications, least to most severe (RFC 5424 §6.2.1). */
export const LOG_LEVELS = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const

export type LogLevel = (typeof LOG_LEVELS)[number]

/** JSON values that belong to the caller: nobody else's calls can see or reach them. */
export interface OwnerStore {
  /** @returns the value, or `undefined` when it is absent or expired. */
  get(key: string): Promise<unknown>
  /**
   * Keeps a JSON value of at most 256 KiB. An owner holds 100 keys: one more drops the oldest.
   *
   * @throws {RangeError} when the value is larger.
   */
  put(key: string, value: unknown, options: { ttlSeconds: number }): Promise<void>
  /** @returns whether there was a value. */
  delete(key: string): Promise<boolean>
  /** Keys, oldest first. */
  list(): Promise<readonly string[]>
}

/** What a tool is given besides its input. It never sees the SDK, the request or a token. */
export interface ToolContext {
  readonly principal: Principal
  /** Aborts when the caller has gone or cancelled, at the deadline, and at shutdown. Stop then. */
  readonly signal: AbortSignal
  /**
   * Tells the caller how far the work is. Values that do not grow are dropped; floods are merged.
   *
   * @param done units of work done so far
   * @param total units in all, when known
   */
  progress(done: number, total?: number, message?: string): void
  /** Sends a log notification to the caller, filtered by the level the caller asked for. */
  log(level: LogLevel, message: string, data?: Readonly<Record<string, unknown>>): void
  /**
   * Asks the person at the other end. The first run of the tool ends here; when the answer comes
   * the tool runs again from its top. Ask at most once in a call, before any effect.
   *
   * @returns whether the person agreed.
   */
  confirm(question: string): Promise<boolean>
  readonly store: OwnerStore
  readonly fetch: Fetch
  /**
   * Tells those who follow this resource that it has changed: the streams of the same owner, of
   * everybody who may read it when it is `shared`. They are told once, when the call has ended.
   *
   * @throws {RangeError} for a URI of no resource, and for more than 100 resources in a call
   */
  resourceUpdated(uri: string): void
  /** Tells the streams of the same owner that `resources/list` has changed, when the call has ended. */
  resourceListChanged(): void
}

/** What resources and prompts are given besides their input. */
export type ReadContext = Pick<ToolContext, 'principal' | 'signal' | 'store'>

/** A resource inside of an answer. Bytes are sent as Base64, here and below. */
export interface EmbeddedResource {
  readonly uri: string
  readonly mimeType: string
  readonly content: string | Uint8Array
}

/** A piece of an answer. */
export type ContentBlock =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image' | 'audio'; readonly data: Uint8Array; readonly mimeType: string }
  | { readonly type: 'resource'; readonly resource: EmbeddedResource }
  | {
      readonly type: 'resource_link'
      /** Whoever reads it needs the rights that it takes: a link grants none. */
      readonly uri: string
      readonly name: string
      readonly title?: string
      readonly description?: string
      readonly mimeType?: string
    }

type Shape = Readonly<Record<string, unknown>>

/** A tool is data plus one function. `run` gets the parsed input and returns what `output` says. */
export interface Tool<
  Input extends Shape = Shape,
  Output extends Shape | readonly ContentBlock[] = Shape | readonly ContentBlock[],
> {
  readonly name: string
  readonly title: string
  readonly description: string
  readonly annotations: {
    readonly readOnlyHint?: boolean
    readonly destructiveHint?: boolean
    readonly idempotentHint?: boolean
    readonly openWorldHint?: boolean
  }
  /** A strict object of bounded fields, without transforms, defaults or coercion. */
  readonly input: z.ZodObject
  /** What a structured result is. A tool without it returns content blocks. */
  readonly output?: z.ZodObject
  /** Answers as a stream at once, with keep-alive comments, so that proxies do not cut it. */
  readonly longRunning: boolean
  /** Runs as a task for clients that can follow one; `required`: other clients are refused. */ // optional: tasks
  readonly task?: 'optional' | 'required' // optional: tasks
  /** What a task asks, it asks while it runs. With this, before: the answer makes the task. */ // optional: tasks
  readonly asksFirst?: boolean // optional: tasks
  run(input: Input, context: ToolContext): Promise<Output>
}

type Typed<I extends z.ZodObject, Output extends Shape | readonly ContentBlock[]> = Omit<
  Tool<z.output<I>, Output>,
  'input' | 'output'
> & { readonly input: I }

/** Types `run` from the schemas. Nothing is registered here: `tools/index.ts` is the list. */
export function defineTool<I extends z.ZodObject, O extends z.ZodObject>(
  tool: Typed<I, z.input<O>> & { readonly output: O },
): Tool & { readonly output: O }
/** A tool that returns content blocks. */
export function defineTool<I extends z.ZodObject>(tool: Typed<I, readonly ContentBlock[]>): Tool
export function defineTool(tool: Tool): Tool {
  return tool
}

/**
 * Suggests values for one argument of a prompt, or variable of a resource, as far as it is typed. A
 * caller is asked for the rights of the prompt or resource; a condition sees this argument alone, so
 * one that needs another does not hold. What comes back are suggestions: the value that is sent in the
 * end is checked as any other.
 *
 * @returns the best first; a caller gets the first 100
 */
type Complete = (
  argument: string,
  value: string,
  context: ReadContext,
) => Promise<readonly string[]>

/**
 * A resource behind a URI template with one variable per path segment, such as `report://{id}`, or
 * behind one URI without variables.
 */
export interface Resource<Params extends Shape = Shape> {
  /** RFC 6570 level 1 template. Also the key of its entry in `policies/access.yaml`. */
  readonly uriTemplate: string
  readonly name: string
  readonly title: string
  readonly description: string
  readonly mimeType: string
  readonly params: z.ZodObject
  /**
   * The same for everybody who may read it, who are all told of a change then. Without it, a resource
   * is its owner's: what one caller changes is told to nobody else.
   */
  readonly shared?: boolean
  readonly complete?: Complete
  /** @returns text or bytes, or `undefined` when there is nothing for this caller. */
  read(params: Params, context: ReadContext): Promise<string | Uint8Array | undefined>
  /** What exists for this caller. */
  list(context: ReadContext): Promise<readonly { readonly uri: string; readonly title: string }[]>
}

export function defineResource<P extends z.ZodObject>(
  resource: Omit<Resource<z.output<P>>, 'params'> & { params: P },
): Resource {
  return resource
}

/** One message of a prompt. */
export interface PromptMessage {
  readonly role: 'user' | 'assistant'
  readonly content: ContentBlock
}

/** A prompt: messages made for the model from arguments of the caller. */
export interface Prompt<Input extends Shape = Shape> {
  readonly name: string
  readonly title: string
  readonly description: string
  /** A strict object of bounded strings. */
  readonly input: z.ZodObject
  readonly complete?: Complete
  /**
   * @returns the text of one user message, or messages, or `undefined` when its subject does not exist
   */
  render(input: Input, context: ReadContext): Promise<string | readonly PromptMessage[] | undefined>
}

export function definePrompt<I extends z.ZodObject>(
  prompt: Omit<Prompt<z.output<I>>, 'input'> & { input: I },
): Prompt {
  return prompt
}

/** Everything a fork serves. Each list is in the order that callers see. */
export interface Catalog {
  readonly tools: readonly Tool[]
  readonly resources: readonly Resource[]
  readonly prompts: readonly Prompt[]
}

/** An error whose message is meant for the caller. Any other error is masked. */
export class ToolError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ToolError'
  }
}
