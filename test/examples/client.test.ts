import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startBareServer, startToolServer, type ToolServer } from './server.ts'

const CLIENT = join(import.meta.dirname, '../../examples/client.ts')

interface Run {
  readonly child: ChildProcess
  readonly out: () => string
  readonly err: () => string
  /** Resolves when standard output and error together contain the text; fails when they end first. */
  shows(text: string): Promise<void>
  /** Resolves with the exit code. */
  readonly exit: Promise<number | null>
}

const children: ChildProcess[] = []

function start(line: readonly string[], env: Readonly<Record<string, string>> = {}): Run {
  const child = spawn(process.execPath, [CLIENT, ...line], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  })
  children.push(child)
  let out = ''
  let err = ''
  let check = (): void => {}
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk
    check()
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk
    check()
  })
  const exit = once(child, 'close').then(() => child.exitCode)
  return {
    child,
    out: () => out,
    err: () => err,
    exit,
    async shows(text) {
      const shown = new Promise<true>((resolve) => {
        check = () => {
          if ((out + err).includes(text)) resolve(true)
        }
        check()
      })
      const first = await Promise.race([shown, exit])
      if (first !== true && !(out + err).includes(text)) {
        throw new Error(`Ended without showing ${text}:\n${out}${err}`)
      }
    },
  }
}

async function runToEnd(
  line: readonly string[],
  env?: Readonly<Record<string, string>>,
): Promise<{ code: number | null; out: string; err: string }> {
  const run = start(line, env)
  const code = await run.exit
  return { code, out: run.out(), err: run.err() }
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

describe('contract: the client shows what arrives, when it arrives', () => {
  let server: ToolServer
  beforeEach(async () => {
    server = await startToolServer()
  })
  afterEach(() => server[Symbol.asyncDispose]())

  it.each([['auto'], ['modern'], ['legacy']])(
    'prints progress and logs of a tool that is still running (%s)',
    async (era) => {
      const run = start([server.url, 'call', 'steps', '--era', era])
      await run.shows('[1/2] one')
      await run.shows('info: one')
      expect(run.out()).toBe('')
      expect(run.child.exitCode).toBe(null)

      server.proceed.ring()
      expect(await run.exit).toBe(0)
      expect(run.err()).toBe('[1/2] one\ninfo: one\n[2/2] two\ninfo: two\n')
      expect(run.out()).toBe('done\n')
    },
  )

  it('prints one JSON line for each notification and for the result', async () => {
    const run = start([server.url, 'call', 'steps', '--json'])
    await run.shows('"one"')
    server.proceed.ring()
    expect(await run.exit).toBe(0)
    expect(run.err()).toBe('')
    expect(
      run
        .out()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { type: 'progress', progress: 1, total: 2, message: 'one' },
      { type: 'log', level: 'info', data: 'one' },
      { type: 'progress', progress: 2, total: 2, message: 'two' },
      { type: 'log', level: 'info', data: 'two' },
      {
        type: 'result',
        result: expect.objectContaining({ content: [{ type: 'text', text: 'done' }] }),
      },
    ])
  })

  it.each([
    ['debug', 'auto', true, true],
    ['info', 'auto', true, false],
    ['warning', 'auto', false, false],
    ['debug', 'legacy', true, true],
    ['warning', 'legacy', false, false],
  ])('keeps to --log-level %s (%s)', async (level, era, hasInfo, hasDebug) => {
    server.proceed.ring()
    const { code, err } = await runToEnd([
      server.url,
      'call',
      'steps',
      '--log-level',
      level,
      '--era',
      era,
    ])
    expect(code).toBe(0)
    expect(err.includes('info: two')).toBe(hasInfo)
    expect(err.includes('debug: two in detail')).toBe(hasDebug)
  })

  it('lists tools, resources and prompts', async () => {
    const { code, out } = await runToEnd([server.url, 'list'])
    expect(code).toBe(0)
    expect(out).toContain('Takes two steps')
    expect(out).toContain('note://{id}')
    expect(out).toContain('greet')
  })

  it('reads a resource', async () => {
    expect(await runToEnd([server.url, 'read', 'note://1'])).toEqual({
      code: 0,
      out: 'a note\n',
      err: '',
    })
  })

  it('renders a prompt', async () => {
    const { code, out } = await runToEnd([
      server.url,
      'prompt',
      'greet',
      '--args',
      '{"name":"Ann"}',
    ])
    expect(code).toBe(0)
    expect(out).toBe('user: Greet Ann\n')
  })

  it.each([
    [
      'declines a confirmation when there is nobody to ask',
      [],
      'declined\n',
      'Really? Declined, as there is nobody to ask; --yes agrees.\n',
    ],
    ['confirms with --yes', ['--yes'], 'agreed\n', ''],
  ])('%s', async (_name, options, out, err) => {
    expect(await runToEnd([server.url, 'call', 'confirm', ...options])).toEqual({
      code: 0,
      out,
      err,
    })
  })
})

describe('contract: the client sends what it was given', () => {
  let server: ToolServer
  let folder: string
  beforeAll(async () => {
    server = await startToolServer()
    folder = mkdtempSync(join(tmpdir(), 'client-'))
    writeFileSync(join(folder, 'b.md'), 'second')
    writeFileSync(join(folder, 'a.md'), 'first')
  })
  afterAll(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  it('sends files as documents in order of their names', async () => {
    const line = [server.url, 'call', 'documents', '--files', `${folder}/*.md`, '--json']
    const { code, out } = await runToEnd(line)
    expect(code).toBe(0)
    expect(JSON.parse(out).result.structuredContent).toEqual({
      documents: [
        { name: 'a.md', text: 'first' },
        { name: 'b.md', text: 'second' },
      ],
    })
  })

  it.each([
    ['--key', ['--key', 'secret-1'], {}, 'Bearer secret-1'],
    ['GATEHOUSE_KEY', [], { GATEHOUSE_KEY: 'secret-2' }, 'Bearer secret-2'],
    ['no key', [], {}, undefined],
  ])('sends the credential of %s', async (_name, options, env, expected) => {
    server.credentials.length = 0
    const { code, out, err } = await runToEnd([server.url, 'list', ...options], env)
    expect(code).toBe(0)
    expect(new Set(server.credentials)).toEqual(new Set([expected]))
    expect(out + err).not.toContain('secret')
  })

  it('explains what is wrong with the command line', async () => {
    const { code, out, err } = await runToEnd([server.url, 'list', '--verbose'])
    expect(code).toBe(2)
    expect(out).toBe('')
    expect(err).toContain('--verbose')
    expect(err).toContain('--help')
  })

  it('explains itself with --help', async () => {
    const { code, out } = await runToEnd(['--help'])
    expect(code).toBe(0)
    expect(out).toContain('Exit codes')
  })
})

describe('contract: the exit code says what happened', () => {
  it.each([
    ['a credential that is missing', 401, {}, 4, '--key'],
    [
      'a scope that is missing',
      403,
      { 'www-authenticate': 'Bearer error="insufficient_scope", scope="reports:read"' },
      4,
      'reports:read',
    ],
    ['a policy that refuses', 403, {}, 4, 'policy'],
    ['a limit', 429, { 'retry-after': '12' }, 5, 'Try again in 12 s'],
    ['a server that drains', 503, { 'retry-after': '3' }, 3, 'Try again in 3 s'],
    ['a body that is too large', 413, {}, 1, 'smaller'],
  ])('%s', async (_name, status, headers, expected, hint) => {
    await using server = await startToolServer({
      status,
      headers: { ...headers, 'x-request-id': 'req-1' },
    })
    for (const era of ['auto', 'legacy']) {
      const { code, out, err } = await runToEnd([server.url, 'call', 'steps', '--era', era])
      expect(code).toBe(expected)
      expect(out).toBe('')
      expect(err).toContain(hint)
      expect(err).toContain(`(HTTP ${status}, request req-1)`)
    }
  })

  it('a tool that fails', async () => {
    await using server = await startToolServer()
    const { code, out } = await runToEnd([server.url, 'call', 'fail'])
    expect(code).toBe(1)
    expect(out).toBe('The tool failed: out of paper\n')
  })

  it('a tool that does not exist', async () => {
    await using server = await startToolServer()
    expect((await runToEnd([server.url, 'call', 'constructor'])).code).toBe(1)
  })

  it('nobody listening', async () => {
    const unused = createServer().listen(0, '127.0.0.1')
    await once(unused, 'listening')
    const address = unused.address()
    if (address === null || typeof address === 'string') throw new Error('No port')
    unused.close()
    await once(unused, 'close')

    const { code, err } = await runToEnd([`http://127.0.0.1:${address.port}/mcp`, 'list'])
    expect(code).toBe(3)
    expect(err).toContain('ECONNREFUSED')
  })

  it('an address that cannot be called, in plain words', async () => {
    const { code, err } = await runToEnd(['http://127.0.0.1:9/mcp', 'list']) // A port that fetch refuses.
    expect(code).toBe(3)
    expect(err).toBe(
      'Cannot connect to http://127.0.0.1:9.\nIs the server running, and is the URL right?\n',
    )
  })

  it.each([
    ['auto', ''],
    ['modern', ' Does the server speak the revision that --era asks for?'],
    ['legacy', ' Does the server speak the revision that --era asks for?'],
  ])('something that does not speak MCP, in plain words (%s)', async (era, asked) => {
    await using server = await startToolServer({ status: 200 })
    const { code, err } = await runToEnd([server.url, 'list', '--era', era])
    expect(code).toBe(3)
    expect(err).toBe(
      `No usable answer from ${server.url} (HTTP 200).\nIs this the URL of an MCP endpoint? It usually ends with /mcp.${asked}\n`,
    )
  })

  it('a server that says nothing for too long', async () => {
    await using server = await startToolServer()
    const { code, err } = await runToEnd([server.url, 'call', 'hang', '--timeout', '0.2'])
    expect(code).toBe(3)
    expect(err).toContain('--timeout')
  })

  it.each([['auto'], ['legacy']])('Ctrl-C, which reaches the tool (%s)', async (era) => {
    await using server = await startToolServer()
    const run = start([server.url, 'call', 'hang', '--era', era])
    await run.shows('hanging')
    run.child.kill('SIGINT')
    await server.aborted.rung
    expect(await run.exit).toBe(130)
    expect(run.err()).toContain('Cancelled.')
  })
})

describe('threat: a hostile server, which writes to the terminal of its user', () => {
  it('shows no control or bidirectional characters and forges no lines', async () => {
    await using server = await startToolServer()
    const { code, out, err } = await runToEnd([server.url, 'call', 'hostile'])
    expect(code).toBe(0)
    expect(err).toBe('warning: log[2J forged: line\n')
    expect(out).toBe('clear[2Jed txt.exe\nnext\n')
  })

  it('writes what the SDK says about it like everything else', async () => {
    const tool = {
      name: 'evil\u001b[2J\u202e\nforged: line',
      inputSchema: { type: 'object', properties: { a: { type: 'object', 'x-mcp-header': 'A' } } },
    }
    await using server = await startBareServer({ tools: [tool] })
    const people = await runToEnd([server.url, 'list', '--era', 'modern'])
    expect(people.out).toMatch(/^Tools\n {2}none\n/)
    expect(people.err).toMatch(/^warning: .*evil.*\n$/)
    for (const control of ['\u001b', '\u202e']) expect(people.err).not.toContain(control)
    const { out, err } = await runToEnd([server.url, 'list', '--era', 'modern', '--json'])
    expect(err).toBe('')
    const lines = out.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).type)).toEqual(['log', 'result'])
  })

  it('keeps each JSON line one line', async () => {
    await using server = await startToolServer()
    const { out } = await runToEnd([server.url, 'call', 'hostile', '--json'])
    const lines = out.trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    expect(out).not.toContain('\u001b')
  })
})
