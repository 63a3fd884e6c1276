import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { factsOf } from '../../src/tools/process-documents.ts'

/**
 * Streaming as it is done without MCP: an HTTP answer in chunks of text, one line for each step. It does
 * the job of the tool `process_documents`, and nothing else: no credential, no limit, no check of Host or
 * Origin. Loopback only; not a pattern for a service.
 */

const job = z.object({ documents: z.array(z.object({ name: z.string(), text: z.string() })) })

export type Documents = z.output<typeof job>['documents']

export interface ClassicServer extends AsyncDisposable {
  readonly url: string
}

const REST_MS = 100

/** @param rest waits after each document */
export async function startClassicServer(
  rest: () => Promise<unknown> = () => sleep(REST_MS),
): Promise<ClassicServer> {
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST' || request.url !== '/stream') {
      response.writeHead(404).end()
      return
    }
    const { success, data } = job.safeParse(await json(request).catch(() => undefined))
    if (!success) {
      response.writeHead(400).end()
      return
    }
    const { documents } = data
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    const results = []
    for (const [index, { name, text }] of documents.entries()) {
      response.write(`Processing document ${index + 1}/${documents.length}: ${name}\n`)
      results.push({ name, ...factsOf(text) })
      await rest()
    }
    response.write('Processing complete!\n')
    response.end(`${JSON.stringify({ documents: results })}\n`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  return {
    url: `http://127.0.0.1:${port}/stream`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
    },
  }
}

if (import.meta.main) {
  const { url } = await startClassicServer()
  process.stdout.write(`The classic server streams at ${url}\n`)
}
