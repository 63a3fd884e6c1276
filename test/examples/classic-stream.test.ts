import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readStream } from '../../examples/classic-stream/client.ts'
import { startClassicServer } from '../../examples/classic-stream/server.ts'
import { httpServer } from '../http-server.ts'

const ROOT = join(import.meta.dirname, '../..')
const FOLDER = 'examples/classic-stream'
const README = readFileSync(join(ROOT, FOLDER, 'README.md'), 'utf8')
const run = promisify(execFile)

/** Rings once for each wait. */
function bell(): { wait(): Promise<void>; ring(): void } {
  let next = Promise.withResolvers<void>()
  return {
    wait: () => next.promise,
    ring() {
      next.resolve()
      next = Promise.withResolvers()
    },
  }
}

function start(...args: readonly string[]): ChildProcess & { stdout: NodeJS.ReadableStream } {
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

describe('contract: plain streaming shows each step while the job runs', () => {
  it('hands over a line before the next document is begun', async () => {
    const proceed = bell()
    await using server = await startClassicServer(proceed.wait)
    const arrived = bell()
    let text = ''
    const documents = ['a', 'b'].map((name) => ({ name, text: 'two words' }))
    const done = readStream(server.url, documents, (chunk) => {
      text += chunk
      arrived.ring()
    })
    await arrived.wait()
    expect(text).toBe('Processing document 1/2: a\n')
    const second = arrived.wait()
    proceed.ring()
    await second
    expect(text).toBe('Processing document 1/2: a\nProcessing document 2/2: b\n')
    proceed.ring()
    await done
    const [, , complete, result = ''] = text.split('\n')
    expect(complete).toBe('Processing complete!')
    expect(JSON.parse(result).documents).toMatchObject([
      { name: 'a', words: 2 },
      { name: 'b', words: 2 },
    ])
  })

  it.each([
    ['another path', 'POST', '/', '{"documents":[]}', 404],
    ['another method', 'PUT', '/stream', '{"documents":[]}', 404],
    ['no JSON', 'POST', '/stream', '{', 400],
    ['no documents', 'POST', '/stream', '{}', 400],
    ['the job', 'POST', '/stream', '{"documents":[]}', 200],
  ])('answers %s', async (_name, method, path, body, status) => {
    await using server = await startClassicServer()
    const response = await fetch(new URL(path, server.url), { method, body })
    expect(response.status).toBe(status)
  })

  it('fails when the server says no or leaves in the middle', async () => {
    const server = await httpServer((request, response) => {
      request.resume()
      if (request.url === '/no') response.writeHead(503).end()
      else response.writeHead(200).write('Processing', () => response.destroy())
    })
    const nothing = (): void => {}
    await expect(readStream(`${server.origin}/no`, [], nothing)).rejects.toThrow('HTTP 503')
    await expect(readStream(server.origin, [], nothing)).rejects.toThrow('terminated')
    await server.down()
  })
})

describe('contract: examples/classic-stream/README.md is true', () => {
  const blocks = [...README.matchAll(/^```(\w*)\n(.*?)\n```$/gms)]
  const [serve = '', call = '', screen = ''] = blocks.map(([, , text = '']) => text)

  it('has the numbers that compare.ts measures', async () => {
    const { stdout } = await run(process.execPath, [`${FOLDER}/compare.ts`], { cwd: ROOT })
    const [measured] =
      /(?<=<!-- measured -->\n\n)[\s\S]*(?=\n<!-- \/measured -->)/.exec(README) ?? []
    expect(measured, `Run: node ${FOLDER}/compare.ts --write`).toBe(stdout)
  })

  it('shows commands that work, and what they print', async () => {
    expect(blocks).toHaveLength(3)
    const [node, ...args] = serve.split(' ')
    expect(node).toBe('node')
    const server = start(...args)
    const [said] = await once(server.stdout, 'data')
    const url = /http:\S+/.exec(`${said}`)?.[0] ?? ''

    expect(call).toContain('http://127.0.0.1:8000/stream')
    const [, ...words] = call.replace('http://127.0.0.1:8000/stream', url).split(' ')
    const { stdout } = await run(process.execPath, words, { cwd: ROOT })
    const [begin, end] = screen.split('…')
    expect(stdout.startsWith(begin ?? '?')).toBe(true)
    expect(stdout.trimEnd().endsWith(end ?? '?')).toBe(true)
  })

  it.each([
    ['nothing', [], 2],
    ['no file', ['http://127.0.0.1:9/stream'], 2],
    ['a file that is not there', ['http://127.0.0.1:9/stream', 'nope.txt'], 1],
    ['a server that is not there', ['http://127.0.0.1:9/stream', 'LICENSE'], 1],
  ])('the client given %s ends with an error', async (_name, args, code) => {
    const ended = run(process.execPath, [`${FOLDER}/client.ts`, ...args], { cwd: ROOT })
    await expect(ended).rejects.toMatchObject({ code, stdout: '' })
  })
})
