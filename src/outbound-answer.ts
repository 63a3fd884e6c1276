import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { scanJson } from './json-scan.ts'
import { OutboundError } from './outbound-error.ts'

/** Deepest nesting of a document that is read. */
const MAX_DEPTH = 16

/** @throws {OutboundError} for an answer that is no document, before its body is read */
export function mustBeDocument({ statusCode = 0, headers }: IncomingMessage): void {
  if (statusCode >= 300 && statusCode <= 399) throw new OutboundError('redirect')
  if (statusCode !== 200) throw new OutboundError('status', { status: statusCode })
  if (!/^application\/(?:[a-z0-9.-]+\+)?json *(?:;|$)/i.test(headers['content-type'] ?? '')) {
    throw new OutboundError('not-json')
  }
  if (isCompressed(headers)) throw new OutboundError('not-json')
}

/** Nothing was asked for that would have to be unpacked. */
function isCompressed(headers: IncomingHttpHeaders): boolean {
  return (headers['content-encoding'] ?? 'identity') !== 'identity'
}

/**
 * The body, at most so many bytes.
 *
 * @param check looks at status and headers before the body is read
 * @throws {OutboundError} `encoding`, `too-large`, and what `check` throws
 */
export async function wholeOf(
  response: IncomingMessage,
  maxBytes: number,
  check: (response: IncomingMessage) => void,
): Promise<Buffer> {
  try {
    check(response)
    if (isCompressed(response.headers)) throw new OutboundError('encoding')
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

/** @throws {OutboundError} `not-json` for anything but strict JSON */
export function parseDocument(body: Buffer): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body)
    const fault = scanJson(text, MAX_DEPTH)
    if (fault === undefined) return JSON.parse(text)
  } catch {
    // What the parser says quotes the document.
  }
  throw new OutboundError('not-json')
}
