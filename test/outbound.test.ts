import type { LookupAddress } from 'node:dns'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isPublicAddress } from '../src/networks.ts'
import { createOutbound, OutboundError, type OutboundFault } from '../src/outbound.ts'
import { httpServer, json, type TestServer } from './http-server.ts'

const LIMITS = { timeoutMs: 2000, maxBytes: 1000, allowLoopback: true }

let server: TestServer
beforeEach(async () => {
  server = await httpServer(json({ ok: true }))
})
afterEach(() => server.down())

const development = createOutbound({ mode: 'development' })
const production = createOutbound({ mode: 'production' })

/** An outbound for which each name has these addresses. */
function resolving(...addresses: string[]): ReturnType<typeof createOutbound> {
  const found: LookupAddress[] = addresses.map((address) => ({
    address,
    family: address.includes(':') ? 6 : 4,
  }))
  return createOutbound({ mode: 'development', resolve: async () => found })
}

async function faultOf(promise: Promise<unknown>): Promise<unknown> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  if (!(error instanceof Error) || !('fault' in error)) return error
  expect(error.message).toBe(error.fault)
  return error.fault
}

describe('contract: reading a document', () => {
  it('lets a JSON document through', async () => {
    await expect(development.json(server.origin, LIMITS)).resolves.toEqual({ ok: true })
  })

  it.each(['application/jwk-set+json', 'application/json; charset=utf-8', 'Application/JSON'])(
    'lets %s through',
    async (type) => {
      server.answer = (_request, response) =>
        response.writeHead(200, { 'content-type': type }).end('1')
      await expect(development.json(server.origin, LIMITS)).resolves.toBe(1)
    },
  )

  it('lets a body of exactly the limit through', async () => {
    server.answer = json('x'.repeat(LIMITS.maxBytes - 2))
    await expect(development.json(server.origin, LIMITS)).resolves.toHaveLength(998)
  })

  it('sends no cookie, credential or user agent, and asks for no compression', async () => {
    await development.json(server.origin, LIMITS)
    expect(server.requests[0]?.headers).toEqual({
      accept: 'application/json, application/*+json',
      'accept-encoding': 'identity',
      connection: 'close',
      host: `127.0.0.1:${server.port}`,
    })
  })
})

describe('contract: posting a form', () => {
  const post = {
    form: { token: 'a+b/c~d=é&x', token_type_hint: 'access_token' },
    authorization: 'Basic Y2FuYXJ5',
  }

  it('sends the form, the credential it was given, and nothing else', async () => {
    let received = ''
    server.answer = async (request, response) => {
      for await (const chunk of request.setEncoding('utf8')) received += chunk
      json({ ok: true })(request, response)
    }
    await expect(development.json(server.origin, { ...LIMITS, post })).resolves.toEqual({
      ok: true,
    })
    expect(received).toBe('token=a%2Bb%2Fc%7Ed%3D%C3%A9%26x&token_type_hint=access_token')
    expect(server.requests[0]?.method).toBe('POST')
    expect(server.requests[0]?.headers).toEqual({
      accept: 'application/json, application/*+json',
      'accept-encoding': 'identity',
      authorization: 'Basic Y2FuYXJ5',
      connection: 'close',
      'content-length': String(received.length),
      'content-type': 'application/x-www-form-urlencoded',
      host: `127.0.0.1:${server.port}`,
    })
  })
})

describe('threat: what is posted reaches somebody else, or an error', () => {
  const canary = 'canary-6e2f7a'
  const post = { form: { token: canary }, authorization: `Basic ${canary}` }

  it.each([301, 302, 303, 307, 308])('is not sent on by a redirect with %i', async (status) => {
    const elsewhere = await httpServer(json({ ok: true }))
    server.answer = (_request, response) =>
      response.writeHead(status, { location: elsewhere.origin }).end()
    expect(await faultOf(development.json(server.origin, { ...LIMITS, post }))).toBe('redirect')
    expect(elsewhere.requests).toHaveLength(0)
    await elsewhere.down()
  })

  it.each([
    ['http to a public name', 'http://issuer.example/introspect'],
    ['a private address', 'https://10.0.0.1/introspect'],
  ])('is not sent to %s', async (_name, url) => {
    expect(await faultOf(development.json(url, { ...LIMITS, post }))).toBe('address')
    expect(await faultOf(production.json(url, { ...LIMITS, post }))).toBe('address')
  })

  it.each<[string, RequestListener]>([
    ['is refused', (_request, response) => response.writeHead(401).end()],
    ['comes back', body(JSON.stringify(post), { 'content-type': 'text/plain' })],
    ['is cut off', (_request, response) => response.destroy()],
    ['is not answered', () => undefined],
  ])('is in no error when it %s', async (_name, answer) => {
    server.answer = answer
    const limits = { ...LIMITS, timeoutMs: 100, post }
    const error = await development.json(server.origin, limits).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(OutboundError)
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(canary)
  })

  it('tells the status of an answer that is none', async () => {
    server.answer = (_request, response) => response.writeHead(401).end()
    const asked = development.json(server.origin, { ...LIMITS, post })
    await expect(asked).rejects.toMatchObject({ fault: 'status', status: 401 })
  })
})

function body(text: string | Buffer, headers: Record<string, string> = {}): RequestListener {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(text)
  }
}

describe('threat: a taken over or broken issuer, it holds this server or feeds it something else', () => {
  it.each<[string, OutboundFault, RequestListener]>([
    ['a body one byte over the limit', 'too-large', json('x'.repeat(LIMITS.maxBytes - 1))],
    [
      'an endless body',
      'too-large',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        const chunk = 'x'.repeat(500)
        const more = (): void => {
          if (!response.destroyed && response.write(chunk)) setImmediate(more)
          else response.once('drain', more)
        }
        more()
      },
    ],
    ['HTML', 'not-json', body('{}', { 'content-type': 'text/html' })],
    [
      'a type that begins like JSON',
      'not-json',
      body('{}', { 'content-type': 'application/jsonp' }),
    ],
    ['no media type', 'not-json', (_request, response) => response.end('{}')],
    ['compressed content', 'not-json', body('{}', { 'content-encoding': 'gzip' })],
    ['an empty body', 'not-json', body('')],
    ['half a document', 'not-json', body('{"keys":')],
    ['a member twice', 'not-json', body('{"issuer":"a","issuer":"b"}')],
    ['bytes that are not UTF-8', 'not-json', body(Buffer.from([0x22, 0xff, 0x22]))],
    ['very deep nesting', 'not-json', body('['.repeat(400) + ']'.repeat(400))],
    ['an error', 'status', (_request, response) => response.writeHead(500).end('{}')],
    ['another success', 'status', (_request, response) => response.writeHead(206).end('{}')],
    ['a cut connection', 'network', (_request, response) => response.destroy()],
    [
      'a body that ends early',
      'network',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 })
        response.write('{', () => response.destroy())
      },
    ],
  ])('refuses %s', async (_name, fault, answer) => {
    server.answer = answer
    expect(await faultOf(development.json(server.origin, LIMITS))).toBe(fault)
  })

  it.each<[string, RequestListener]>([
    ['headers', () => undefined],
    [
      'the rest of the body',
      (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).write('{')
      },
    ],
  ])('gives up when %s never come', async (_name, answer) => {
    server.answer = answer
    const fault = faultOf(development.json(server.origin, { ...LIMITS, timeoutMs: 50 }))
    expect(await fault).toBe('timeout')
  })

  it.each([301, 302, 303, 307, 308])('does not follow a redirect with %i', async (status) => {
    server.answer = (request, response) => {
      if (request.url === '/elsewhere') json({ ok: true })(request, response)
      else response.writeHead(status, { location: '/elsewhere' }).end()
    }
    expect(await faultOf(development.json(server.origin, LIMITS))).toBe('redirect')
    expect(server.requests).toHaveLength(1)
  })

  it('gives up on a port where nothing listens', async () => {
    const { origin } = server
    await server.down()
    expect(await faultOf(development.json(origin, LIMITS))).toBe('network')
    await server.up()
  })
})

describe('threat: server-side request forgery, the server is made to call what only it can reach', () => {
  it.each([
    ['http to a public name', 'http://issuer.example/'],
    ['another scheme', 'file:///etc/passwd'],
    ['what is not a URL', 'issuer'],
    ['a user in the URL', 'https://user@issuer.example/'],
    ['a password in the URL', 'https://:secret@issuer.example/'],
    ['cloud metadata', 'https://169.254.169.254/latest/meta-data/'],
    ['a private address', 'https://10.0.0.1/'],
    ['an address as one number', 'https://2130706433/'],
    ['an address in hex', 'https://0x7f.1/'],
    ['loopback of IPv6', 'https://[::1]/'],
    ['IPv4-mapped IPv6', 'https://[::ffff:10.0.0.1]/'],
    ['the unspecified address', 'https://0.0.0.0/'],
  ])('refuses %s, in both modes', async (_name, url) => {
    expect(await faultOf(production.json(url, LIMITS))).toBe('address')
    expect(await faultOf(development.json(url, LIMITS))).toBe('address')
  })

  it.each([
    ['in production', production, true],
    ['in development when the issuer is not on loopback', development, false],
  ])('refuses loopback %s', async (_name, outbound, allowLoopback) => {
    const fault = faultOf(outbound.json(server.origin, { ...LIMITS, allowLoopback }))
    expect(await fault).toBe('address')
    expect(server.requests).toHaveLength(0)
  })

  it('refuses a name that resolves to loopback', async () => {
    let connections = 0
    const listener = createServer(() => {
      connections += 1
    })
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
    const address = listener.address()
    const port = typeof address === 'object' ? address?.port : 0
    const fault = await faultOf(
      resolving('127.0.0.1').json(`https://issuer.example:${port}/`, LIMITS),
    )
    expect(fault).toBe('address')
    expect(connections).toBe(0)
    await new Promise((resolve) => listener.close(resolve))
  })

  it.each([
    ['a private address', ['10.1.2.3']],
    ['a private address behind a public one', ['1.1.1.1', '10.1.2.3']],
    ['a private address of IPv6', ['fd00::1']],
    ['no address', []],
  ])('refuses a name that resolves to %s', async (_name, addresses) => {
    const outbound = resolving(...addresses)
    expect(await faultOf(outbound.json('https://issuer.example/', LIMITS))).toBe('address')
  })

  it.each([
    ['a public address', ['93.184.216.34']],
    ['loopback and a private address', ['127.0.0.1', '10.0.0.1']],
  ])('refuses localhost that resolves to %s', async (_name, addresses) => {
    const fault = faultOf(resolving(...addresses).json(`http://localhost:${server.port}/`, LIMITS))
    expect(await fault).toBe('address')
    expect(server.requests).toHaveLength(0)
  })

  it('lets localhost that resolves to loopback through, resolved once', async () => {
    let lookups = 0
    const outbound = createOutbound({
      mode: 'development',
      async resolve() {
        lookups += 1
        return [{ address: lookups === 1 ? '127.0.0.1' : '10.0.0.1', family: 4 }]
      },
    })
    const url = `http://localhost:${server.port}/`
    await expect(outbound.json(url, LIMITS)).resolves.toEqual({ ok: true })
    expect(lookups).toBe(1)
  })

  it('says network when a name does not resolve', async () => {
    const outbound = createOutbound({
      mode: 'production',
      resolve: () => Promise.reject(new Error('ENOTFOUND')),
    })
    expect(await faultOf(outbound.json('https://issuer.example/', LIMITS))).toBe('network')
  })

  it('says timeout when a name is not resolved in time', async () => {
    const outbound = createOutbound({
      mode: 'production',
      resolve: () => new Promise(() => undefined),
    })
    const fault = faultOf(outbound.json('https://issuer.example/', { ...LIMITS, timeoutMs: 50 }))
    expect(await fault).toBe('timeout')
  })

  it.each([
    '0.0.0.0',
    '10.255.255.255',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.1.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:8.8.8.8',
    '::8.8.8.8',
    '64:ff9b::808:808',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:808:808::1',
    '3fff::1',
    'fc00::1',
    'fd00::1',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    '',
    'localhost',
  ])('counts %s as not public', (address) => {
    expect(isPublicAddress(address)).toBe(false)
  })

  it.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450::1',
  ])('counts %s as public', (address) => {
    expect(isPublicAddress(address)).toBe(true)
  })
})
