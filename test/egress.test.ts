import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer, type Server } from 'node:https'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AuditEvent } from '../src/audit/trail.ts'
import { toolFetch } from '../src/egress.ts'
import type { Destination } from '../src/egress-rules.ts'
import { EgressError, type Fetch, type FetchOptions } from '../src/fetch.ts'
import { isPrivateAddress } from '../src/networks.ts'
import { createOutbound } from '../src/outbound.ts'
import { temporaryFolder } from './audit/pipe.ts'
import { httpServer, json, type TestServer } from './http-server.ts'

let upstream: TestServer
let recorded: Extract<AuditEvent, { event: 'egress' }>[] = []
beforeEach(async () => {
  recorded = []
  upstream = await httpServer(json({ ok: true }))
})
afterEach(() => upstream.down())

const FACTS = {
  requestId: 'request-1',
  address: '192.0.2.1',
  principal: undefined,
  credentialId: undefined,
  trace: undefined,
  method: 'tools/call',
  name: 'rates',
  rpcId: 1,
  era: 'modern',
  argsHmac: 'a'.repeat(64),
  argsBytes: 2,
} as const

function destination(changes: Partial<Destination> = {}): Destination {
  return {
    origin: upstream.origin,
    methods: ['GET'],
    paths: ['/v1/'],
    private: false,
    credential: {},
    timeoutMs: 5000,
    requestBytes: 10,
    responseBytes: 1024,
    why: 'a test',
    ...changes,
  }
}

interface Options {
  readonly tool?: string
  readonly signal?: AbortSignal
  readonly mode?: 'development' | 'production'
  readonly address?: string
}

/** `ctx.fetch` of the tool `rates`, over real connections. */
function fetchTo(
  destinations: readonly Destination[],
  { tool = 'rates', signal, mode = 'development', address = '127.0.0.1' }: Options = {},
): Fetch {
  const resolve = async (): Promise<{ address: string; family: number }[]> => [
    { address, family: address.includes(':') ? 6 : 4 },
  ]
  const fetchOf = toolFetch({
    outbound: createOutbound({ mode, resolve }),
    trail: {
      write(event) {
        if (event.event === 'egress') recorded.push(event)
      },
    },
  })
  const rules = new Map([['rates', destinations]])
  return fetchOf(rules, { ...FACTS, name: tool }, signal ?? new AbortController().signal)
}

async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  return error instanceof EgressError ? error.fault : error
}

const redirectTo =
  (location: string, status = 302): RequestListener =>
  (request, response) => {
    if (request.url === '/v1/old') response.writeHead(status, { location }).end()
    else json({ path: request.url, header: request.headers['x-own'] })(request, response)
  }

describe('contract: a tool asks another service', () => {
  it('gets status, headers and body, whatever the status', async () => {
    upstream.answer = (_request, response) =>
      response
        .writeHead(404, { 'content-type': 'application/json', 'set-cookie': 'a=b', etag: '"x"' })
        .end('{"error":"none"}')
    const answer = await fetchTo([destination()])(`${upstream.origin}/v1/rates?day=1#top`)
    expect(answer.status).toBe(404)
    expect(answer.json()).toEqual({ error: 'none' })
    expect(answer.text()).toBe('{"error":"none"}')
    expect(Buffer.from(answer.bytes).toString()).toBe('{"error":"none"}')
    expect([...answer.headers.keys()]).toContain('etag')
    expect(answer.headers.get('set-cookie')).toBe(null)
    expect(upstream.requests[0]?.url).toBe('/v1/rates?day=1')
  })

  it('sends a body and headers of its own', async () => {
    let body = ''
    upstream.answer = (request, response) => {
      request.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      request.on('end', () => response.end('{}'))
    }
    const fetch = fetchTo([destination({ methods: ['POST'] })])
    await fetch(`${upstream.origin}/v1/`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/plain', 'X-Own': 'yes' },
      body: 'ten bytes.',
    })
    expect(body).toBe('ten bytes.')
    expect(upstream.requests[0]?.headers).toMatchObject({
      'content-type': 'text/plain',
      'content-length': '10',
      'x-own': 'yes',
      'accept-encoding': 'identity',
    })
  })

  it('leaves a record that names the destination and what came of it', async () => {
    await fetchTo([destination()])(`${upstream.origin}/v1/canary?canary=canary`)
    expect(recorded).toEqual([
      {
        ...FACTS,
        event: 'egress',
        outcome: 'ok',
        origin: upstream.origin,
        httpMethod: 'GET',
        status: 200,
        sentBytes: 0,
        receivedBytes: 11,
        durationMs: expect.any(Number),
      },
    ])
    expect(JSON.stringify(recorded)).not.toContain('canary')
  })
})

describe('threat: SSRF, a tool is talked into sending a request where it should not', () => {
  it.each<[string, (origin: string) => string]>([
    ['another path', (origin) => `${origin}/v2/rates`],
    ['the path without its slash', (origin) => `${origin}/v1`],
    ['a path that only begins alike', (origin) => `${origin}/v1x/rates`],
    ['a path that climbs out', (origin) => `${origin}/v1/../admin`],
    ['a path that climbs out in escapes', (origin) => `${origin}/v1/%2e%2e/admin`],
    ['a path with backslashes', (origin) => `${origin}/v1/..\\admin`],
    ['another port', (origin) => `${origin.replace(/\d+$/, '1')}/v1/`],
    ['another scheme', (origin) => `${origin.replace('http:', 'https:')}/v1/`],
    [
      'another name of the same host',
      (origin) => `${origin.replace('127.0.0.1', 'localhost')}/v1/`,
    ],
    ['the metadata service', () => 'http://169.254.169.254/v1/'],
    ['a file', () => 'file:///v1/'],
  ])('refuses %s', async (_name, url) => {
    const fault = await faultOf(fetchTo([destination()])(url(upstream.origin)))
    expect(fault).toBe('not-allowed')
    expect(upstream.requests).toHaveLength(0)
    expect(recorded).toEqual([
      expect.objectContaining({ outcome: 'not-allowed', origin: undefined, status: undefined }),
    ])
  })

  it.each<[string, (origin: string) => string]>([
    ['no URL', () => '/v1/'],
    ['a user', (origin) => `${origin.replace('//', '//user@')}/v1/`],
    ['an escaped slash', (origin) => `${origin}/v1/..%2fadmin`],
    ['an escaped backslash', (origin) => `${origin}/v1/..%5Cadmin`],
    ['an escaped escape', (origin) => `${origin}/v1/%252e%252e/admin`],
    ['an empty segment', (origin) => `${origin}/v1//admin`],
    ['an escaped line break', (origin) => `${origin}/v1/%0d%0aadmin`],
    ['a URL without an end', (origin) => `${origin}/v1/${'a'.repeat(9000)}`],
  ])('does not send %s', async (_name, url) => {
    expect(await faultOf(fetchTo([destination()])(url(upstream.origin)))).toBe('bad-request')
    expect(upstream.requests).toHaveLength(0)
  })

  it.each([
    ['the same host in other letters', (origin: string) => origin.replace('http', 'HTTP')],
    ['the same address in one number', (o: string) => o.replace('127.0.0.1', '2130706433')],
  ])('sends %s, because what is checked is what is sent', async (_name, url) => {
    const answer = await fetchTo([destination()])(`${url(upstream.origin)}/v1/./rates`)
    expect([answer.status, upstream.requests[0]?.url]).toEqual([200, '/v1/rates'])
  })

  it('lets no tool use the destination of another', async () => {
    const fetch = fetchTo([destination()], { tool: 'echo' })
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('not-allowed')
    expect(upstream.requests).toHaveLength(0)
  })

  it('sends no method that is not listed', async () => {
    const fetch = fetchTo([destination()])
    expect(await faultOf(fetch(`${upstream.origin}/v1/`, { method: 'DELETE' }))).toBe('not-allowed')
    expect((await fetch(`${upstream.origin}/v1/`)).status).toBe(200)
  })

  it.each([
    ['10.1.2.3', false],
    ['172.16.0.1', false],
    ['192.168.1.1', false],
    ['100.64.0.1', false],
    ['fd12::1', false],
    ['::ffff:10.1.2.3', true],
    ['64:ff9b::a01:203', true],
    ['127.0.0.1', true],
    ['::1', true],
    ['169.254.169.254', true],
    ['fe80::1', true],
    ['100.100.100.200', true],
    ['fd00:ec2::254', true],
    ['0.0.0.0', true],
    ['224.0.0.1', true],
  ])('does not connect to a listed name that has the address %s', async (address, isPrivate) => {
    const origin = 'https://api.example.com'
    const to = [destination({ origin, private: isPrivate })]
    expect(await faultOf(fetchTo(to, { address })(`${origin}/v1/`))).toBe('address')
    expect(recorded).toEqual([expect.objectContaining({ outcome: 'address', origin })])
  })

  it('reaches nothing on this machine in production', async () => {
    const fetch = fetchTo([destination({ private: true })], { mode: 'production' })
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('address')
    expect(upstream.requests).toHaveLength(0)
  })
})

describe('threat: redirects, a listed service sends the request on', () => {
  it.each([301, 302, 303, 307, 308])('follows %i to a listed path', async (status) => {
    upstream.answer = redirectTo('/v1/new', status)
    const answer = await fetchTo([destination()])(`${upstream.origin}/v1/old`)
    expect(answer.json()).toMatchObject({ path: '/v1/new' })
    expect(recorded.map((event) => event.status)).toEqual([status, 200])
  })

  it.each([
    ['another path', '/admin', 'not-allowed'],
    ['another host', 'http://127.0.0.2/v1/', 'not-allowed'],
    ['the metadata service', 'http://169.254.169.254/v1/', 'not-allowed'],
    ['a user', 'http://user@127.0.0.1/v1/', 'bad-request'],
    ['nothing that is a URL', 'http://', 'bad-request'],
  ])('does not follow to %s', async (_name, location, fault) => {
    upstream.answer = redirectTo(location)
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/old`))).toBe(fault)
    expect(upstream.requests).toHaveLength(1)
  })

  it('follows three in a row, and no circle', async () => {
    upstream.answer = redirectTo('/v1/old')
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/old`))).toBe('redirect')
    expect(upstream.requests).toHaveLength(4)
  })

  it('sends no body a second time', async () => {
    upstream.answer = redirectTo('/v1/new', 307)
    const fetch = fetchTo([destination({ methods: ['POST'] })])
    const sent = fetch(`${upstream.origin}/v1/old`, { method: 'POST', body: 'x' })
    expect(await faultOf(sent)).toBe('redirect')
    expect(upstream.requests).toHaveLength(1)
  })

  it('takes each host its own credential, and no header that was meant for the other', async () => {
    const other = await httpServer((request, response) => json(request.headers)(request, response))
    upstream.answer = redirectTo(`${other.origin}/v1/`)
    const fetch = fetchTo([
      destination({ credential: { 'x-key': 'canary-of-the-first' } }),
      destination({ origin: other.origin, credential: { authorization: 'Bearer second' } }),
    ])
    const answer = await fetch(`${upstream.origin}/v1/old`, { headers: { 'x-own': 'mine' } })
    expect(answer.json()).toMatchObject({ authorization: 'Bearer second' })
    expect(answer.text()).not.toMatch(/canary|mine/)
    expect(upstream.requests[0]?.headers).toMatchObject({ 'x-key': 'canary-of-the-first' })
    await other.down()
  })
})

describe('threat: confused deputy, a credential is sent that is not for this service', () => {
  it("adds the server's own, which the tool cannot change", async () => {
    const fetch = fetchTo([destination({ credential: { 'x-api-key': 'own' } })])
    await fetch(`${upstream.origin}/v1/`, { headers: { 'X-Api-Key': 'canary' } })
    expect(upstream.requests[0]?.headers['x-api-key']).toBe('own')
  })

  it.each([
    'authorization',
    'Authorization',
    'cookie',
    'proxy-authorization',
    'dpop',
    'host',
    'connection',
    'transfer-encoding',
    'content-length',
    'x-forwarded-for',
    'forwarded',
    'mcp-session-id',
    'accept-encoding',
    'expect',
    'x-http-method-override',
    'x-original-url',
    'x_forwarded_for',
    '__proto__',
    'constructor.',
  ])('lets no tool send %s', async (name) => {
    const fetch = fetchTo([destination()])
    const headers = Object.fromEntries([[name, 'canary']])
    const sent = fetch(`${upstream.origin}/v1/`, { headers })
    expect(await faultOf(sent)).toBe('bad-request')
    expect(upstream.requests).toHaveLength(0)
  })

  it.each<[string, FetchOptions]>([
    ['a line break in a value', { headers: { 'x-own': 'a\r\nx-admin: 1' } }],
    ['a line break in a name', { headers: { 'x-own\r\nx-admin': '1' } }],
    ['a name twice', { headers: { 'x-own': '1', 'X-Own': '2' } }],
    ['a value that is no ASCII', { headers: { 'x-own': '\u00e9' } }],
    [
      'more headers than anybody needs',
      { headers: Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`x-${index}`, ''])) },
    ],
    ['a body with GET', { body: 'x' }],
  ])('does not send %s', async (_name, options) => {
    const fetch = fetchTo([destination()])
    expect(await faultOf(fetch(`${upstream.origin}/v1/`, options))).toBe('bad-request')
    expect(upstream.requests).toHaveLength(0)
  })
})

describe('threat: an upstream that is slow, endless or gone holds the server', () => {
  it.each([
    [10, 'x'.repeat(10), undefined],
    [10, 'x'.repeat(11), 'too-large-request'],
  ])('bounds the request to %i bytes', async (requestBytes, body, fault) => {
    const fetch = fetchTo([destination({ methods: ['POST'], requestBytes })])
    const sent = fetch(`${upstream.origin}/v1/`, { method: 'POST', body })
    expect(await faultOf(sent)).toBe(fault)
  })

  it.each([
    [1024, undefined],
    [1025, 'too-large'],
  ])('with an answer of %i bytes: %s', async (bytes, fault) => {
    upstream.answer = (_request, response) => response.end('x'.repeat(bytes))
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/`))).toBe(fault)
  })

  it('cuts an answer without an end', async () => {
    upstream.answer = (_request, response) => {
      const more = setInterval(() => response.write('x'.repeat(500)), 1)
      response.on('close', () => clearInterval(more))
    }
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/`))).toBe('too-large')
  })

  it.each<[string, RequestListener]>([
    ['headers', () => undefined],
    ['a body', (_request, response) => void response.write('{')],
  ])('waits for %s no longer than policy says', async (_name, answer) => {
    upstream.answer = answer
    const fetch = fetchTo([destination({ timeoutMs: 100 })])
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('timeout')
  })

  it('ends with its call', async () => {
    const leaving = new AbortController()
    upstream.answer = () => leaving.abort()
    const fetch = fetchTo([destination()], { signal: leaving.signal })
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('cancelled')
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('cancelled')
    expect(upstream.requests).toHaveLength(1)
  })

  it('takes nothing that is compressed', async () => {
    upstream.answer = (_request, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('x')
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/`))).toBe('encoding')
  })

  it('says network when nobody is there', async () => {
    await upstream.down()
    expect(await faultOf(fetchTo([destination()])(`${upstream.origin}/v1/`))).toBe('network')
    await upstream.up()
  })

  it('sends a hundred requests in one call, and no more', async () => {
    const fetch = fetchTo([destination()])
    for (let count = 0; count < 100; count += 1) await fetch(`${upstream.origin}/v1/`)
    expect(await faultOf(fetch(`${upstream.origin}/v1/`))).toBe('too-many')
    expect(upstream.requests).toHaveLength(100)
  })

  it('leaves a record of each request of a call, and one of all that are too many', async () => {
    const fetch = fetchTo([])
    for (let count = 0; count < 150; count += 1) await faultOf(fetch('https://api.example.com/'))
    expect(recorded).toHaveLength(101)
    expect(recorded.at(-1)).toMatchObject({ outcome: 'too-many', origin: undefined })
  })
})

describe('threat: a path that the upstream reads as another one', () => {
  it.each([
    ['dots with a parameter', '/v1/..;/admin'],
    ['one dot with a parameter', '/v1/.;x=1/admin'],
    ['an escaped slash', '/v1/..%2fadmin'],
    ['an escaped backslash', '/v1/..%5Cadmin'],
    ['two escapes', '/v1/%252e%252e/admin'],
    ['an escape of old servers', '/v1/%u002e%u002e/admin'],
    ['an overlong encoding', '/v1/%c0%ae%c0%ae/admin'],
    ['a full-width slash', '/v1/..%ef%bc%8fadmin'],
    ['a null byte', '/v1/a%00'],
    ['an empty segment', '/v1//admin'],
  ])('sends none with %s, and leaves a record', async (_name, path) => {
    const fetch = fetchTo([destination()])
    expect(await faultOf(fetch(`${upstream.origin}${path}`))).toBe('bad-request')
    expect(upstream.requests).toHaveLength(0)
    expect(recorded).toMatchObject([{ outcome: 'bad-request', origin: undefined }])
  })

  it.each(['/v1/', '/v1/a%20b', '/v1/..a/b', '/v1/caf%C3%A9;x=1'])(
    'lets %s through',
    async (path) => {
      await fetchTo([destination()])(`${upstream.origin}${path}`)
      expect(upstream.requests.map(({ url }) => url)).toEqual([path])
    },
  )
})

/** TLS is never ended on loopback in production, so it is tried at an address of this machine. */
const own = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ address }) => isPrivateAddress(address))?.address

describe.skipIf(own === undefined)(
  'threat: somebody in between answers for a listed service',
  () => {
    const address = own ?? ''
    const trusted = getCACertificates('default')
    let https: Server
    let origin: string
    let certificate: string
    beforeEach(async () => {
      using folder = temporaryFolder()
      const [cert, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')]
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
          ...['-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=DNS:api.example.com'],
          ...['-keyout', key, '-out', cert],
        ],
        { stdio: 'ignore' },
      )
      certificate = readFileSync(cert, 'utf8')
      https = createServer({ cert: certificate, key: readFileSync(key) }, json({ ok: true }))
      await new Promise<void>((resolve) => https.listen(0, address, resolve))
      const bound = https.address()
      origin = `https://api.example.com:${typeof bound === 'object' ? bound?.port : 0}`
    })
    afterEach(async () => {
      setDefaultCACertificates(trusted)
      await new Promise((resolve) => https.close(resolve))
    })

    it('asks a service whose certificate has its name', async () => {
      setDefaultCACertificates([...trusted, certificate])
      const fetch = fetchTo([destination({ origin, private: true })], {
        address,
        mode: 'production',
      })
      expect((await fetch(`${origin}/v1/`)).json()).toEqual({ ok: true })
    })

    it.each([
      ['that nobody has signed', 'api.example.com', []],
      ['of another name', 'other.example.com', ['signed']],
    ])('sends nothing to one with a certificate %s', async (_name, host, signed) => {
      if (signed.length > 0) setDefaultCACertificates([...trusted, certificate])
      const listed = origin.replace('api.example.com', host)
      let asked = 0
      https.on('request', () => {
        asked += 1
      })
      const to = [destination({ origin: listed, private: true, credential: { 'x-key': 'canary' } })]
      const fetch = fetchTo(to, { address, mode: 'production' })
      expect(await faultOf(fetch(`${listed}/v1/`))).toBe('network')
      expect(asked).toBe(0)
    })
  },
)
