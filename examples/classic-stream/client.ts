import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { printableLines } from '../format.ts'
import type { Documents } from './server.ts'

/**
 * Sends documents to the classic server and hands over its text as it arrives. A chunk may be a part of a
 * line or several lines: what a line means, and where the result begins, is for the reader to know.
 *
 * @throws {Error} when the server says no, cannot be reached, or leaves in the middle
 */
export async function readStream(
  url: string,
  documents: Documents,
  onText: (text: string) => void,
): Promise<void> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify({ documents }) })
  if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`)
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) onText(text)
}

async function main([url, ...files]: readonly string[]): Promise<number> {
  if (url === undefined || files.length === 0) {
    process.stderr.write('Usage: node examples/classic-stream/client.ts URL FILE...\n')
    return 2
  }
  try {
    const documents = files.map((file) => ({
      name: basename(file),
      text: readFileSync(file, 'utf8'),
    }))
    await readStream(url, documents, (text) => process.stdout.write(printableLines(text)))
    return 0
  } catch (error) {
    process.stderr.write(`The stream failed: ${error instanceof Error ? error.message : error}\n`)
    return 1
  }
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2))
