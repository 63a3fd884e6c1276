import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type TestApp, testApp, toolCall } from '../app.ts'
import { connect, exchange } from '../raw-http.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { RULES } from '../source-rules.ts'
import { readSources, sourcesOf } from '../source-tree.ts'
import { BODY, CHUNKED, chunk, filled, head, post } from '../wire.ts'

/** Published flaws of other servers and of libraries, in requests: none of them is one here. */

const sources = readSources().filter(({ path }) => path.startsWith('src/'))

let server: Server
beforeAll(async () => {
  server = await startServer()
})
afterAll(stopServers)

let app: TestApp
beforeEach(() => {
  app = testApp()
})
afterEach(() => app.close())

const PATHS = [
  '/mcp',
  '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-protected-resource/mcp',
  '/sse',
  '/messages',
  '/unknown',
]
const METHODS = ['GET', 'POST', 'DELETE', 'OPTIONS', 'PUT']
const ROUTES = PATHS.flatMap((target) => METHODS.map((method) => ({ method, target })))

const REBINDING =
  'CVE-2025-66414, CVE-2025-66416, CVE-2026-34742, CVE-2026-42559, GHSA-8jxr-pr72-r468, GHSA-46gc-mwh4-cc5r, GHSA-mc9g-v2cp-vfff, GHSA-rqfv-2mw9-78g2'

describe(`advisory: ${REBINDING}: the guard against DNS rebinding is missing or off`, () => {
  it.each(ROUTES)('$method $target refuses a foreign Host, as shipped', async (route) => {
    const { status, reached } = await app.send({ ...route, headers: { host: 'evil.example' } })
    expect({ status, reached }).toEqual({ status: 421, reached: 0 })
  })

  it.each(ROUTES)('$method $target refuses a foreign Origin, as shipped', async (route) => {
    const headers = { origin: 'https://evil.example' }
    const { status, reached } = await app.send({ ...route, headers })
    expect({ status, reached }).toEqual({ status: 403, reached: 0 })
  })

  it('serves its own name', async () => {
    expect(await app.send()).toMatchObject({ status: 200, reached: 1 })
  })
})

describe('advisory: CVE-2026-9739: an allow-list was added and a hard-coded * left beside it', () => {
  it.each(ROUTES)('$method $target lets no foreign page read its answer', async (route) => {
    const { headers } = await app.send({ ...route, headers: { origin: 'https://evil.example' } })
    expect(headers.get('access-control-allow-origin')).toBeNull()
  })

  it('has one file that writes CORS headers', () => {
    const writers = sources.filter(({ text }) => /access-control-allow-origin/i.test(text))
    expect(writers.map(({ path }) => path)).toEqual(['src/controls/cors.ts'])
  })
})

describe('advisory: CVE-2026-54290, GHSA-q7jf-gf43-6x6p: a wildcard with credentials reflects any origin; Vary is written from the request', () => {
  it.each(['https://evil.example', 'null', '*', 'https://a.example, https://b.example'])(
    'origin %s is not reflected',
    async (origin) => {
      const { headers } = await app.send({ headers: { origin } })
      expect(headers.get('access-control-allow-origin')).toBeNull()
      expect(headers.get('access-control-allow-credentials')).toBeNull()
      expect(headers.get('vary')).toBe('Origin')
    },
  )

  it('allows a page of this machine in development, by its exact origin and without credentials', async () => {
    const { headers } = await app.send({ headers: { origin: 'http://localhost:5173' } })
    expect(headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
    expect(headers.get('access-control-allow-credentials')).toBeNull()
  })

  it('does not take CORS from a library', () => {
    const imports = sources.flatMap(({ imports: all }) => all.map(({ specifier }) => specifier))
    expect(imports).not.toContain('hono/cors')
  })
})

describe('advisory: CVE-2026-33252: a page posts text/plain, which no preflight guards', () => {
  it.each([
    'text/plain',
    'text/plain; charset=utf-8',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json, text/plain',
    '',
  ])('refuses a body of type %j', async (type) => {
    const { status, reached } = await app.send({ headers: { 'content-type': type } })
    expect({ status, reached }).toEqual({ status: 415, reached: 0 })
  })

  it('takes application/json', async () => {
    expect((await app.send({ headers: { 'content-type': 'application/json' } })).status).toBe(200)
  })
})

describe('advisory: CVE-2026-25536: a shared server or transport leaks answers between clients', () => {
  it('gives each of four callers at the same time their own progress, log and result, and nothing of another', async () => {
    const names = Array.from({ length: 4 }, (_, index) => `of-caller-${index}-`)
    const answers = await Promise.all(
      names.map(async (name) => {
        const documents = Array.from({ length: 40 }, (_, n) => ({ name: `${name}${n}`, text: 'a' }))
        const body = {
          jsonrpc: '2.0',
          // All of them use the same ids and tokens.
          id: 1,
          method: 'tools/call',
          params: {
            name: 'process_documents',
            arguments: { documents },
            _meta: { progressToken: 1 },
          },
        }
        const response = await fetch(server.url, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${server.key}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
          },
          body: JSON.stringify(body),
        })
        return response.text()
      }),
    )
    for (const [index, text] of answers.entries()) {
      expect(text.match(/of-caller-\d+-/g)?.every((found) => found === names[index])).toBe(true)
      expect(text.match(/notifications\/progress/g)?.length).toBeGreaterThan(0)
      expect(text.match(/"result"/g)).toHaveLength(1)
    }
  })
})

describe('advisory: CVE-2026-39313: a body without a bound', () => {
  it('stops reading at the bound, whatever is still to come', async () => {
    const piece = Buffer.alloc(65_536, 0x20)
    const { status, reached } = await app.send({ chunks: Array.from({ length: 200 }, () => piece) })
    expect({ status, reached }).toEqual({ status: 413, reached: 0 })
  })
})

describe('advisory: CVE-2026-44456, GHSA-92vj-g62v-jqhh: the bound of a body holds only with a usable Content-Length', () => {
  const large = ' '.repeat(1_048_577)

  it.each([
    ['in chunks', `${post(CHUNKED)}${chunk(large)}0\r\n\r\n`],
    ['in small chunks', `${post(CHUNKED)}${chunk(' '.repeat(4096)).repeat(257)}0\r\n\r\n`],
    ['declared', `${post(`Content-Length: ${large.length}`)}`],
  ])('%s', async (_name, wire) => {
    const [answer] = await exchange(server, filled(wire, server))
    expect(answer?.status).toBe(413)
  })

  it.each([
    ['a length that is no number', 'Content-Length: x'],
    ['two lengths', `Content-Length: ${BODY.length}\r\nContent-Length: 1`],
    ['a length and chunks', `Content-Length: 5\r\n${CHUNKED}`],
  ])('%s is refused', async (_name, framing) => {
    const [answer] = await exchange(server, filled(`${post(framing)}${BODY}`, server))
    expect(answer?.status).toBe(400)
  })
})

describe('advisory: CVE-2026-29087, CVE-2026-39406, GHSA-frvp-7c67-39w9: encoded slashes reach static files', () => {
  it.each([
    '/..%2f..%2fetc%2fpasswd',
    '/%2e%2e/package.json',
    '/static/..%5c..%5cpackage.json',
    '/mcp%2f..%2fpackage.json',
    '/package.json',
    '/policies/auth.yaml',
  ])('%s is not there', async (target) => {
    const { status, text } = await app.send({ method: 'GET', target, body: '' })
    expect(status).toBe(404)
    expect(text).not.toContain('gatehouse')
  })
})

describe('advisory: CVE-2026-47674, GHSA-r354-f388-2fhh, CVE-2026-47676: addresses in other spellings, paths that are decoded twice', () => {
  it.each(['/%6dcp', '/mcp/', '//mcp', '/mcp;x', '/MCP', '/x/../mcp', '/./mcp', '/mcp%00'])(
    'the path %s is another one',
    async (target) => {
      expect(await app.send({ target })).toMatchObject({ status: 404, reached: 0 })
    },
  )

  it.each(['hono/ip-restriction', 'hono/serve-static', '@hono/node-server/serve-static'])(
    '%s is not used, and a use would be found',
    (specifier) => {
      const text = `import { x } from '${specifier}'\nexport const y = x`
      const [source] = sourcesOf({ 'src/x.ts': text })
      expect(source && RULES.flatMap((rule) => rule.check(source))).not.toEqual([])
      for (const one of sources) {
        expect(one.imports.map((entry) => entry.specifier)).not.toContain(specifier)
      }
    },
  )

  it('mounts no app under another', () => {
    for (const { path, text } of sources)
      expect([path, /\.mount\(/.test(text)]).toEqual([path, false])
  })
})

describe('advisory: CVE-2026-58044, CVE-2026-21710: headers dropped past a count, header names as object keys', () => {
  it('refuses more headers than are looked at, wherever the bad one stands', async () => {
    const many = Array.from({ length: 1200 }, (_, index) => [`x-${index}`, 'a'] as const)
    const wire = [['host', 'mcp.example.com'], ...many, ['host', 'evil.example']] as const
    expect(await app.send({ wire })).toMatchObject({ status: 431, reached: 0 })
  })

  it.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])(
    'a header named %s is a header',
    async (name) => {
      const { status } = await app.send({ headers: { [`x-${name}`]: 'a' } })
      expect(status).toBe(200)
      const wire = filled(`${post(`${name}: a`, `Content-Length: ${BODY.length}`)}${BODY}`, server)
      const [answer] = await exchange(server, wire)
      expect(answer?.status).toBe(200)
    },
  )
})

describe('advisory: CVE-2026-59950, GHSA-f6c5-f2ph-7x7p: a WebSocket is opened without a check of its Origin', () => {
  it.each(['http://127.0.0.1', 'https://evil.example'])(
    'nobody upgrades, from %s',
    async (origin) => {
      using connection = connect(server)
      const lines = ['GET /mcp HTTP/1.1', 'Host: AUTHORITY', 'Authorization: Bearer KEY']
      const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
      connection.write(filled(head(...lines, ...upgrade, `Origin: ${origin}`), server))
      const { status, headers } = await connection.answer()
      expect(status).toBe(400)
      expect(headers.has('upgrade')).toBe(false)
    },
  )
})

describe('advisory: CVE-2026-27896, GHSA-q382-vc8q-7jhj: JSON that is read leniently', () => {
  const call = JSON.stringify(toolCall('echo', { text: 'a' }))

  it.each([
    ['two names', call.replace('"method"', '"method":"tools/list","method"')],
    ['a name in another case', call.replace('"method"', '"Method"')],
    ['something after it', `${call} {}`],
    ['a comment', `/**/${call}`],
    ['a trailing comma', call.replace('}}}', '},}}')],
    ['single quotes', call.replaceAll('"', "'")],
    ['a byte order mark', `\ufeff${call}`],
    ['NaN', call.replace('"id":1', '"id":NaN')],
  ])('%s is not a message', async (_name, body) => {
    expect(await app.send({ body })).toMatchObject({ status: 400, reached: 0 })
  })
})
