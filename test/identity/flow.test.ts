// optional: oauth
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchange } from '../raw-http.ts'
import { callOf } from '../server.ts'
import { attempt, eventOf, expectRefused, recordsOf, resultOf } from './attempt.ts'
import { METADATA_PATH } from './issuer.ts'
import { bearer, startTarget, type Target } from './target.ts'

const DOCUMENT_PATH = '/.well-known/oauth-protected-resource'

let target: Target
beforeAll(async () => {
  target = await startTarget()
})
afterAll(() => target[Symbol.asyncDispose]())

const origin = (): string => new URL(target.server.url).origin

// biome-ignore lint/suspicious/noExplicitAny: documents are inspected by the tests
async function jsonAt(url: string): Promise<any> {
  return (await fetch(url)).json()
}

describe('contract: the way of a client from no credential to an answer', () => {
  it('leads from the 401 to the metadata, to the issuer, to a token that works', async () => {
    const nobody = await fetch(target.server.url, { method: 'POST' })
    expect(nobody.status).toBe(401)
    const challenge = nobody.headers.get('www-authenticate') ?? ''
    expect(challenge).toBe(
      `Bearer scope="mcp:use", resource_metadata="${origin()}${DOCUMENT_PATH}/mcp"`,
    )
    const [, address = ''] = /resource_metadata="([^"]+)"/.exec(challenge) ?? []
    const document = await jsonAt(address)
    expect(document).toEqual({
      resource: target.server.url,
      authorization_servers: [target.issuer.url, target.other.url],
      scopes_supported: ['documents:process', 'mcp:use', 'reports:delete', 'reports:read'],
      bearer_methods_supported: ['header'],
    })
    const [issuer = ''] = document.authorization_servers
    const metadata = await jsonAt(`${issuer}${METADATA_PATH}`)
    const token = target.token({ iss: metadata.issuer, aud: document.resource })
    expect(resultOf(await attempt(target.server, bearer(token)))).toMatchObject({ issuer })
  })

  it('has the document at both places, for pages of an allowed origin too', async () => {
    const page = 'http://localhost:8080'
    const documents = [DOCUMENT_PATH, `${DOCUMENT_PATH}/mcp`].map(async (path) => {
      const response = await fetch(origin() + path, { headers: { origin: page } })
      expect(response.status).toBe(200)
      expect(response.headers.get('access-control-allow-origin')).toBe(page)
      expect(response.headers.get('access-control-allow-credentials')).toBeNull()
      expect(response.headers.get('vary')).toBe('Origin')
      return response.json()
    })
    const [first, second] = await Promise.all(documents)
    expect(first).toEqual(second)
  })

  it('shows the caller what the server knows of it', async () => {
    const token = target.token({
      scope: 'mcp:use reports:read unknown:scope',
      roles: ['bulk', 'editor'],
      tenant: 'tenant-1',
    })
    expect(resultOf(await attempt(target.server, bearer(token)))).toEqual({
      kind: 'oauth',
      issuer: target.issuer.url,
      client: 'client-1',
      subject: 'user-1',
      scopes: ['mcp:use', 'reports:read', 'unknown:scope'],
      roles: ['bulk', 'editor'],
      tenant: 'tenant-1',
    })
  })
})

describe('threat: the public document is a way around the controls', () => {
  it.each(['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])(
    'refuses %s',
    async (method) => {
      const answer = await raw(method, `${DOCUMENT_PATH}/mcp`)
      expect(answer?.status).toBe(405)
      expect(answer?.headers.get('allow')).toBe('GET')
    },
  )

  it.each<readonly [string, string, number]>([
    ['a query', `${DOCUMENT_PATH}/mcp?x=1`, 400],
    ['an empty query', `${DOCUMENT_PATH}?`, 400],
    ['a slash behind', `${DOCUMENT_PATH}/`, 404],
    ['a slash behind the path', `${DOCUMENT_PATH}/mcp/`, 404],
    ['two slashes', `/${DOCUMENT_PATH}`, 404],
    ['capitals', `${DOCUMENT_PATH}/MCP`, 404],
    ['an escape', '/.well-known/oauth-protected-resource/%6dcp', 404],
    ['an escaped slash', '/.well-known%2foauth-protected-resource', 404],
    ['dot segments', `/x/..${DOCUMENT_PATH}`, 404],
    ['another resource', `${DOCUMENT_PATH}/admin`, 404],
    ['dot segments to the endpoint', `${DOCUMENT_PATH}/../../mcp`, 404],
    ['a parameter of a path segment', `${DOCUMENT_PATH};x`, 404],
    ['metadata of an authorization server', METADATA_PATH, 404],
  ])('does not answer to %s', async (_name, path, status) => {
    expect((await raw('GET', path))?.status).toBe(status)
  })

  it('refuses a page of a foreign origin', async () => {
    const headers = { origin: 'https://evil.example' }
    const response = await fetch(`${origin()}${DOCUMENT_PATH}/mcp`, { headers })
    expect(response.status).toBe(403)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
    expect(await response.text()).not.toContain('authorization_servers')
  })

  async function raw(method: string, path: string) {
    const { port } = target.server
    const lines = [`${method} ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'Connection: close']
    const [answer] = await exchange({ port }, `${lines.join('\r\n')}\r\n\r\n`)
    return answer
  }
})

const DOCUMENTS = { documents: [{ name: 'a.md', text: 'firewalls' }] }
const NEEDED = 'mcp:use documents:process'

describe('contract: a token with too little is told what it takes, all at once', () => {
  it('answers 403 with every scope of the operation, and runs nothing', async () => {
    const body = callOf('process_documents', DOCUMENTS)
    const answer = await attempt(target.server, { ...bearer(target.token()), body })
    expect(answer.status).toBe(403)
    expect(answer.headers.get('www-authenticate')).toBe(
      `Bearer error="insufficient_scope", scope="${NEEDED}", resource_metadata="${origin()}${DOCUMENT_PATH}/mcp"`,
    )
    expect(answer.body).toBe(
      '{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"Forbidden"}}',
    )
    const records = await recordsOf(target.server, answer)
    expect(records.map(eventOf)).toEqual(['decision', 'request'])
    expect(records[0]).toMatchObject({
      status_detail: 'authorize.missing-scope',
      actor: {
        user: { uid: 'user-1' },
        idp: { uid: target.issuer.url },
        app_uid: 'client-1',
        authorizations: [{ decision: 'denied' }],
      },
    })
  })

  it('runs the same call with a better token', async () => {
    const better = target.token({ scope: NEEDED })
    const body = callOf('process_documents', DOCUMENTS)
    const answer = await attempt(target.server, { ...bearer(better), body })
    expect(resultOf(answer)).toMatchObject({ documents: [{ name: 'a.md', words: 1 }] })
  })

  it('does not take the better token of another issuer for the same caller', async () => {
    const own = { ...bearer(target.token({ scope: 'mcp:use documents:process reports:read' })) }
    const body = callOf('process_documents', DOCUMENTS)
    const { reportId } = resultOf(await attempt(target.server, { ...own, body }))
    const read = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'resources/read',
      params: { uri: `report://${reportId}` },
    })
    const mine = await attempt(target.server, { ...own, body: read })
    expect(mine.body).toContain('a.md')
    const claims = { iss: target.other.url, scope: 'mcp:use reports:read' }
    const namesake = bearer(target.token(claims, {}, target.other.key))
    const foreign = await attempt(target.server, { ...namesake, body: read })
    expect(foreign.body).not.toContain('a.md')
  })
})

describe.each(['legacy', 'auto'] as const)('contract: a client of the SDK, mode %s', (mode) => {
  it('connects, calls, and steps up when it is told to', async () => {
    const asked: string[] = []
    let token = target.token()
    const transport = new StreamableHTTPClientTransport(new URL(target.server.url), {
      async fetch(url, init) {
        const send = (): Promise<Response> => {
          const headers = new Headers(init?.headers)
          headers.set('authorization', `Bearer ${token}`)
          return fetch(url, { ...init, headers })
        }
        const response = await send()
        const challenge = response.headers.get('www-authenticate') ?? ''
        const [, scope] = /error="insufficient_scope", scope="([^"]+)"/.exec(challenge) ?? []
        if (response.status !== 403 || scope === undefined) return response
        asked.push(scope)
        token = target.token({ scope })
        return send()
      },
    })
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
    await client.connect(transport)
    const { structuredContent } = await client.callTool({ name: 'whoami', arguments: {} })
    expect(structuredContent).toMatchObject({ subject: 'user-1', scopes: ['mcp:use'] })
    expect(asked).toEqual([])

    const result = await client.callTool({ name: 'process_documents', arguments: DOCUMENTS })
    expect(result.isError).toBeFalsy()
    expect(asked).toEqual([NEEDED])
    await client.close()
  })

  it('does not connect with a token of another resource', async () => {
    const token = target.token({ aud: 'https://other.example/mcp' })
    const transport = new StreamableHTTPClientTransport(new URL(target.server.url), {
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    })
    const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
    const failures = (): number =>
      target.server.audited().filter(({ status_code: cause }) => cause === 'audience').length
    const before = failures()
    await expect(client.connect(transport)).rejects.toThrow()
    await target.server.recorded(() => failures() > before)
  })
})

describe('threat: no credential, a stranger gets in', () => {
  it.each([
    ['a call', callOf('whoami', {})],
    ['an unknown method', '{"jsonrpc":"2.0","id":1,"method":"canary"}'],
    ['what is not JSON', '{'],
    ['nothing', ''],
  ])('gives the same answer to %s', async (_name, body) => {
    const answer = await attempt(target.server, { body })
    await expectRefused(target.server, answer, {
      status: 401,
      reason: 'authenticate.missing',
      hasBody: body !== '',
    })
  })
})
