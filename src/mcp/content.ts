import type {
  BlobResourceContents,
  TextResourceContents,
  ContentBlock as WireBlock,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { ContentBlock, EmbeddedResource } from '../define.ts'

/** Content of a fork's tools and prompts, as a fork that is not type-checked might get it wrong. */
const bytes = z.instanceof(Uint8Array)
const mimeType = z.string().min(1).max(255)
const uri = z.string().min(1).max(2048)
const text = z.string()

const blockSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text }),
  z.strictObject({ type: z.enum(['image', 'audio']), data: bytes, mimeType }),
  z.strictObject({
    type: z.literal('resource'),
    resource: z.strictObject({ uri, mimeType, content: z.union([text, bytes]) }),
  }),
  z.strictObject({
    type: z.literal('resource_link'),
    uri,
    name: text,
    title: text.optional(),
    description: text.optional(),
    mimeType: mimeType.optional(),
  }),
])

/** @throws {Error} when it is no content block; the author of the tool finds out in the log. */
export function wireBlock(block: ContentBlock): WireBlock {
  const checked = blockSchema.parse(block)
  switch (checked.type) {
    case 'image':
    case 'audio':
      return { ...checked, data: base64(checked.data) }
    case 'resource':
      return { type: 'resource', resource: wireContents(checked.resource) }
    default:
      return checked
  }
}

export function wireContents({
  uri,
  mimeType,
  content,
}: EmbeddedResource): TextResourceContents | BlobResourceContents {
  return typeof content === 'string'
    ? { uri, mimeType, text: content }
    : { uri, mimeType, blob: base64(content) }
}

function base64({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64')
}
