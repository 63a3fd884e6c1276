// optional: stdio

const LINE_FEED = 0x0a

/**
 * The lines of a byte stream, without their line breaks. A line that is too long is never held: it
 * comes as `undefined`. What follows the last line break is no line.
 *
 * @param maxBytes of one line
 */
export async function* boundedLines(
  input: AsyncIterable<Buffer>,
  maxBytes: number,
): AsyncGenerator<Buffer | undefined, void> {
  let parts: Buffer[] = []
  let bytes = 0

  for await (const chunk of input) {
    let from = 0
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, from)
      const part = chunk.subarray(from, end === -1 ? chunk.length : end)
      bytes += part.length
      if (bytes <= maxBytes) parts.push(part)
      else parts = []
      if (end === -1) break
      yield bytes <= maxBytes ? Buffer.concat(parts, bytes) : undefined
      parts = []
      bytes = 0
      from = end + 1
    }
  }
}
