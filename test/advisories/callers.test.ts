// optional: oauth
import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { compileRules } from '../../src/access/rules.ts'
import { findTarget } from '../../src/access/target.ts'
import { catalog } from '../../src/catalog.ts'
import type { Principal } from '../../src/context.ts'
import { createOutbound } from '../../src/outbound.ts'
import { ownerKey, ownerSpace } from '../../src/owner-key.ts'
import { loadPolicies } from '../../src/policy.ts'
import { PUBLIC_URL, type TestApp, testApp } from '../app.ts'
import { attempt } from '../identity/attempt.ts'
import { NOW, startTarget, type Target } from '../identity/target.ts'
import { callOf } from '../server.ts'
import { readSources } from '../source-tree.ts'

/** Published flaws of other servers and of libraries, in who is calling: none of them is one here. */

const sources = readSources().filter(({ path }) => path.startsWith('src/'))

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target[Symbol.asyncDispose]())

let app: TestApp
beforeEach(() => {
  app = testApp()
})
afterEach(() => app.close())

describe('advisory: CVE-2026-22817, CVE-2026-22818, CVE-2026-44459, CVE-2026-47673: algorithm confusion, any scheme, dates that are no numbers', () => {
  it('a token that is signed with the public key as a secret is refused', async () => {
    const pem = target.issuer.key.publicKey.export({ type: 'spki', format: 'pem' })
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
    const header = { alg: 'HS256', kid: target.issuer.key.kid, typ: 'at+jwt' }
    const unsigned = `${encode(header)}.${encode({ ...target.claims() })}`
    const mac = createHmac('sha256', pem).update(unsigned).digest('base64url')
    await target.refuses('algorithm', `${unsigned}.${mac}`)
  })

  it.each([
    ['exp as text', { exp: String(NOW + 600) }],
    ['no exp', { exp: undefined }],
    ['exp beyond all time', { exp: 1e300 }],
    ['nbf as text', { nbf: 'tomorrow' }],
    ['iat as a list', { iat: [NOW] }],
  ])('a token with %s is refused', async (_name, claims) => {
    const token = target.token(claims)
    const answer = await attempt(target.server, { lines: [`Authorization: Bearer ${token}`] })
    expect(answer.status).toBe(401)
  })

  it.each(['Basic', 'Token', 'JWT', 'bearer,', 'DPoP', ''])(
    'a good token under the scheme %j is refused',
    async (scheme) => {
      const lines = [`Authorization: ${scheme} ${target.token()}`]
      expect((await attempt(target.server, { lines })).status).toBeOneOf([400, 401])
    },
  )

  it('a good token is taken', async () => {
    const lines = [`Authorization: Bearer ${target.token()}`]
    expect((await attempt(target.server, { lines })).status).toBe(200)
  })

  it('no token is verified by the framework', () => {
    const imports = sources.flatMap(({ imports: all }) => all.map(({ specifier }) => specifier))
    for (const specifier of ['hono/jwt', 'hono/jwk', 'hono/bearer-auth']) {
      expect(imports).not.toContain(specifier)
    }
  })
})

describe('advisory: CVE-2026-52869, CVE-2026-52870: what is open or stored is not bound to its owner', () => {
  const owner: Principal = {
    kind: 'oauth',
    issuer: 'https://a.example',
    client: 'client',
    subject: 'ann',
    scopes: [],
    roles: [],
    tenant: null,
  }

  it.each([
    ['kind', { kind: 'api-key' }],
    ['issuer', { issuer: 'https://b.example' }],
    ['subject', { subject: 'bob' }],
    ['parts that run together', { issuer: 'https://a.example","', subject: ',ann' }],
  ] as const)('another %s is another owner', (_name, change) => {
    expect(ownerKey({ ...owner, ...change })).not.toBe(ownerKey(owner))
    expect(ownerSpace({ ...owner, ...change })).not.toBe(ownerSpace(owner))
  })

  it('another client owns other streams and states, and the same reports', () => {
    const other = { ...owner, client: 'other' }
    expect(ownerKey(other)).not.toBe(ownerKey(owner))
    expect(ownerSpace(other)).toBe(ownerSpace(owner))
  })

  it('a report is not there for another subject, nor for the same subject of another issuer', async () => {
    const scope = 'mcp:use documents:process reports:read'
    const as = async (changes: object, key = target.issuer.key, body?: string): Promise<string> => {
      const lines = [`Authorization: Bearer ${target.token({ scope, ...changes }, {}, key)}`]
      const call = callOf('process_documents', { documents: [{ name: 'a', text: 'canary' }] })
      return (await attempt(target.server, { lines, body: body ?? call })).body
    }
    const made = await as({})
    const [, id = ''] = /"reportId":"([\w-]{22})"/.exec(made) ?? []
    expect(id).toHaveLength(22)
    const read = JSON.stringify({
      jsonrpc: '2.0',
      id: 2,
      method: 'resources/read',
      params: { uri: `report://${id}` },
    })
    expect(await as({}, target.issuer.key, read)).toContain('contents')
    expect(await as({ sub: 'user-2' }, target.issuer.key, read)).toContain('Resource not found')
    const foreign = await as({ iss: target.other.url }, target.other.key, read)
    expect(foreign).toContain('Resource not found')
  })
})

describe('advisory: CVE-2025-6515: ids that can be guessed', () => {
  it('nothing is drawn from Math.random but the pause before Redis is tried again', () => {
    const drawing = sources.filter(({ text }) => /Math\s*\.\s*random/.test(text))
    expect(drawing.map(({ path }) => path)).toEqual(['src/stores/redis-connection.ts'])
  })

  it('no two requests have ids that tell anything of each other', async () => {
    const ids = new Set<string>()
    for (let index = 0; index < 200; index += 1) {
      const { headers } = await app.send()
      ids.add(headers.get('x-request-id') ?? '')
    }
    expect(ids.size).toBe(200)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]/)
  })
})

describe('advisory: CVE-2026-0621: a URI template that takes exponential time to match', () => {
  const policies = loadPolicies('policies', 'production')
  const find = findTarget(catalog, compileRules(policies.access, 'mcp:use', catalog))
  const read = (uri: string): unknown =>
    find({ jsonrpc: '2.0', id: 1, method: 'resources/read', params: { uri } })

  it.each([
    ['one long segment', `report://${'a'.repeat(2_000)}/`],
    ['many segments', `report://${'a/'.repeat(1_000)}`],
    ['many separators', `report://${'/'.repeat(2_000)}`],
    ['braces', `report://${'{id}'.repeat(500)}/`],
    ['percent signs', `report://${'%'.repeat(2_000)}#`],
  ])('%s is answered at once', (_name, uri) => {
    const startedMs = performance.now()
    for (let run = 0; run < 100; run += 1) read(uri)
    // A hundred linear matches take about a millisecond; one that backtracks takes for ever.
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })

  it.each(['x://{a}{b}', 'x://{a*}', 'x://{+a}', 'x://{a}-{b}/c'])(
    'the template %s is refused at start',
    (uriTemplate) => {
      const [resource] = catalog.resources
      if (resource === undefined) throw new Error('no resource')
      const resources = [{ ...resource, uriTemplate }]
      const entry = { scopes: [], listed: false, timeoutSeconds: 60, why: 'of the test' }
      const access = { ...policies.access, resources: { [uriTemplate]: entry } }
      expect(() => compileRules(access, 'mcp:use', { ...catalog, resources })).toThrow(
        'must be a template like',
      )
    },
  )
})

describe('advisory: CVE-2026-27124, GHSA-6x8h-498w-gv8c: a proxy for authorization is confused about consent', () => {
  it.each([
    '/authorize',
    '/oauth/authorize',
    '/token',
    '/oauth/token',
    '/register',
    '/callback',
    '/consent',
    '/revoke',
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
  ])('%s is not here', async (path) => {
    for (const method of ['GET', 'POST']) {
      expect((await app.send({ method, target: path, body: '' })).status).toBe(404)
    }
  })

  it('tokens are taken, and never passed on', () => {
    const holders = sources.filter(({ path }) => /^src\/(tools|resources|prompts)\//.test(path))
    for (const { path, text } of holders) {
      expect([path, /authorization|\btoken\b/i.test(text)]).toEqual([path, false])
    }
  })
})

describe('advisory: CVE-2026-26118, GHSA-pr64-jmmf-jp54, GHSA-qg2g-g9w3-m5h8: a server fetches what a caller names', () => {
  const outbound = createOutbound({ mode: 'production' })

  it.each([
    'http://169.254.169.254/latest/meta-data/',
    'https://169.254.169.254/',
    'https://[fd00:ec2::254]/',
    'https://127.0.0.1/',
    'https://[::ffff:10.0.0.1]/',
    'https://0x7f000001/',
    'https://localhost/',
    'file:///etc/passwd',
    'gopher://example.com/',
  ])('%s is not asked', async (url) => {
    const options = { timeoutMs: 2000, maxBytes: 1000, allowLoopback: false }
    await expect(outbound.json(url, options)).rejects.toThrow('address')
  })

  it('a tool has no way out of its own', () => {
    const NETWORK = /^(node:)?(http|https|http2|net|tls|dgram|dns|undici)/
    for (const { path, imports, text } of sources) {
      if (!/^src\/(tools|resources|prompts|mcp|access|controls)\//.test(path)) continue
      const values = imports.filter(
        ({ specifier, values: all }) => NETWORK.test(specifier) && all.length > 0,
      )
      expect([path, values.map(({ specifier }) => specifier)]).toEqual([path, []])
      expect([path, /(?<![.\w])fetch\(/.test(text)]).toEqual([path, false])
    }
  })
})

describe('advisory: CVE-2026-32211: authentication is missing, or fails open', () => {
  it.each([
    ['no way to authenticate', {}],
    ['a key file that is not there', { MCP_API_KEYS_FILE: '/nowhere' }],
    ['anonymous in production', { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' }],
  ])('production does not start with %s', (_name, env) => {
    const production = { NODE_ENV: 'production', MCP_PUBLIC_URL: PUBLIC_URL }
    expect(() => testApp({ env: { ...production, ...env }, keyless: true })).toThrow()
  })

  it.each([null, '', 'Bearer', 'Bearer ', 'Bearer null', 'Bearer undefined', 'Basic Og=='])(
    'the credential %j opens nothing',
    async (authorization) => {
      const { status, reached } = await app.send({ headers: { authorization } })
      expect(status).toBeOneOf([400, 401])
      expect(reached).toBe(0)
    },
  )
})

describe('advisory: GHSA-pxq7, GHSA-5hvv, GHSA-7x63: a forwarded URI, a health check, a client-certificate header open a route', () => {
  it.each([
    ['x-forwarded-uri', '/livez'],
    ['x-original-url', '/livez'],
    ['x-rewrite-url', '/.well-known/oauth-protected-resource'],
    ['x-auth-request-redirect', '/'],
    ['x-http-method-override', 'OPTIONS'],
    ['user-agent', 'GoogleHC/1.0'],
    ['user-agent', 'kube-probe/1.31'],
    ['x-forwarded-for', '127.0.0.1'],
    ['x-real-ip', '::1'],
    ['x-forwarded-client-cert', 'Subject="CN=admin"'],
    ['ssl-client-verify', 'SUCCESS'],
    ['x-forwarded-user', 'admin'],
    ['remote-user', 'admin'],
    ['x-authenticated', 'true'],
    ['cookie', 'session=admin'],
  ])('%s: %s does not', async (name, value) => {
    const headers = { authorization: null, [name]: value }
    expect(await app.send({ headers })).toMatchObject({ status: 401, reached: 0 })
  })
})
