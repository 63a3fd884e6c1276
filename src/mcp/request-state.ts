import { createHash, randomUUID } from 'node:crypto'
import { createRequestStateCodec, type ServerContext } from '@modelcontextprotocol/server'
import canonicalize from 'canonicalize'
import { z } from 'zod'
import type { Identity, Operation } from '../context.ts'
import { ownerKey } from '../owner-key.ts'
import type { SecretRing } from '../secrets.ts'
import type { Store } from '../stores/store.ts'

const TTL_SECONDS = 300

/** What a confirmation is bound to. */
export interface StateBinding {
  /** `ownerKey` of the principal. */
  readonly owner: string
  readonly tool: string
  /** SHA-256 of the input in its canonical form (RFC 8785). No key: a rotation must not change it. */
  readonly args: string
}

const stateSchema = z.strictObject({
  owner: z.string(),
  tool: z.string(),
  args: z.string(),
  question: z.string(),
  nonce: z.string(),
})

/** State that a question was asked, which travels through the client and back. */
export interface RequestStates {
  /** @returns the signed state of a question. */
  mint(binding: StateBinding, question: string): Promise<string>
  /**
   * Verifies a state that came back, once.
   *
   * @returns the digest of the question that was asked.
   * @throws {Error} when it is not ours, expired, used before, or of another caller, tool or
   *   arguments. The SDK answers each with the same -32602.
   */
  verify(state: string, binding: StateBinding, ctx: ServerContext): Promise<string>
}

/**
 * Signed, not encrypted: it holds digests only. The first key of the ring signs, all verify, so a
 * rotation breaks no question that is open.
 *
 * Source: MCP 2026-07-28, Multi Round-Trip Requests, server requirements 4 and 5.
 */
export function requestStates(ring: SecretRing, store: Store): RequestStates {
  const [newest, ...older] = ring('request-state')
  const first = createRequestStateCodec({ key: newest.key, ttlSeconds: TTL_SECONDS })
  const codecs = [
    first,
    ...older.map(({ key }) => createRequestStateCodec({ key, ttlSeconds: TTL_SECONDS })),
  ]

  return {
    mint: (binding, question) =>
      first.mint({ ...binding, question: questionDigest(question), nonce: randomUUID() }),

    async verify(state, binding, ctx) {
      const payload = await Promise.any(codecs.map((codec) => codec.verify(state, ctx)))
      const { owner, tool, args, question, nonce } = stateSchema.parse(payload)
      const matches = owner === binding.owner && tool === binding.tool && args === binding.args
      if (!matches) throw new Error('The state belongs to another call')
      const fresh = await store.once(`request-state:${nonce}`, TTL_SECONDS)
      if (!fresh) throw new Error('The state was used before')
      return question
    },
  }
}

export function bindingOf({ principal }: Identity, { facts, parsed }: Operation): StateBinding {
  return {
    owner: ownerKey(principal),
    tool: facts.name,
    args: digestOf(canonicalize(parsed.value) ?? ''),
  }
}

export function questionDigest(question: string): string {
  return digestOf(question)
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
