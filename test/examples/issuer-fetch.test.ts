import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Failed } from '../../examples/failures.ts'
import { assertIssuerUrl, IssuerRefused, issuerFetch } from '../../examples/issuer-fetch.ts'
import { httpServer, json, type TestServer } from '../http-server.ts'

const REMOTE = new URL('https://mcp.example.com/mcp')
const LOCAL = new URL('http://127.0.0.1:3000/mcp')
const never = new AbortController().signal

describe('threat: a server or issuer sends the client, with its secrets, to a place of its choice', () => {
  it.each([
    ['plain http', 'http://auth.example.com/', REMOTE],
    ['plain http, from a local server', 'http://auth.example.com/', LOCAL],
    ['a service on this machine', 'http://127.0.0.1:8080/', REMOTE],
    ['a service on this machine, https', 'https://localhost/', REMOTE],
    ['a service on this machine, IPv6', 'http://[::1]:8080/', REMOTE],
    ['a loopback address in disguise', 'http://2130706433/', REMOTE],
    ['a loopback name as a prefix', 'http://localhost.example.com/', LOCAL],
    ['a loopback address as a user', 'http://127.0.0.1@auth.example.com/', LOCAL],
    ['a file', 'file:///etc/passwd', LOCAL],
    ['a script', 'javascript:alert(1)', LOCAL],
    ['data', 'data:application/json,{}', LOCAL],
  ])('does not go to %s', async (_name, url, server) => {
    expect(() => assertIssuerUrl(new URL(url), server)).toThrow(Failed)
    await expect(issuerFetch(server, never)(url)).rejects.toThrow(Failed)
  })

  it.each([
    ['https', 'https://auth.example.com/', REMOTE],
    ['https, from a local server', 'https://auth.example.com/', LOCAL],
    ['http on loopback, from a local server', 'http://localhost:8080/', LOCAL],
  ])('goes to %s', (_name, url, server) => {
    expect(assertIssuerUrl(new URL(url), server).href).toBe(url)
  })
})

describe('contract: what an issuer answers', () => {
  let issuer: TestServer
  beforeAll(async () => {
    issuer = await httpServer(json({ ok: true }))
  })
  afterAll(() => issuer.down())

  function answer(status: number, body: string): void {
    issuer.answer = (_request, response) => response.writeHead(status).end(body)
  }
  const post = (): Promise<Response> =>
    issuerFetch(LOCAL, never)(`${issuer.origin}/token`, { method: 'POST', body: 'a=b' })

  it('passes a success on', async () => {
    answer(200, '{"ok":true}')
    expect(await (await post()).json()).toEqual({ ok: true })
  })

  it('passes a missing document on', async () => {
    answer(404, '')
    expect((await issuerFetch(LOCAL, never)(issuer.origin)).status).toBe(404)
  })

  it.each([
    ['an error', '{"error":"invalid_grant","error_description":"secret-1"}', 'invalid_grant'],
    ['an error that is none', '{"error":"Secret-1 <b>"}', ''],
    ['an error that is no string', '{"error":{"secret":1}}', ''],
    ['a page', '<html>secret-1</html>', ''],
    ['nothing', '', ''],
  ])('knows the code alone of a refusal with %s', async (_name, body, code) => {
    answer(400, body)
    const refusal = await post().catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(IssuerRefused)
    expect(refusal).toMatchObject({ code, message: expect.not.stringMatching(/secret/i) })
  })

  it.each([429, 500, 503])('takes no %i for a refusal', async (status) => {
    answer(status, '{"error":"invalid_grant"}')
    await expect(post()).rejects.toMatchObject({ failure: { exitCode: 3 } })
  })

  it.each(['GET', 'POST'])('follows no redirect of a %s by itself', async (method) => {
    issuer.answer = ({ url }, response) => {
      if (url === '/token') response.writeHead(307, { location: '/elsewhere' }).end()
      else response.writeHead(200).end('{"reached":true}')
    }
    const body = method === 'POST' ? { body: 'refresh_token=secret-1' } : {}
    const request = issuerFetch(LOCAL, never)(`${issuer.origin}/token`, { method, ...body })
    await expect(request).rejects.toThrow(TypeError)
  })

  it('stops with its signal', async () => {
    issuer.answer = () => {}
    const cancel = new AbortController()
    const request = issuerFetch(LOCAL, cancel.signal)(issuer.origin)
    cancel.abort()
    await expect(request).rejects.toThrow('aborted')
  })
})
