import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listenForRedirect, type RedirectListener } from '../../examples/loopback.ts'

let redirect: RedirectListener
beforeEach(async () => {
  redirect = await listenForRedirect(0)
})
afterEach(() => redirect[Symbol.asyncDispose]())

const never = new AbortController().signal
const port = (): number => Number(redirect.url.port)
const right = (more = ''): string => `/callback?code=the-code&state=${redirect.state}${more}`

/** Sends a request as it is. @returns status and body; `undefined` when nobody listens. */
async function send(
  target: string,
  { method = 'GET', host = `127.0.0.1:${port()}` } = {},
): Promise<{ status: number; answer: string } | undefined> {
  const socket = connect(port(), '127.0.0.1')
  try {
    socket.end(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    const answer = await text(socket)
    return { status: Number(answer.split(' ')[1]), answer }
  } catch {
    return undefined
  }
}

describe('contract: the answer of the issuer arrives', () => {
  it('has a redirect URI on 127.0.0.1 and another state each time', async () => {
    expect(redirect.url.href).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
    expect(redirect.state).toMatch(/^[\w-]{43}$/)
    await using other = await listenForRedirect(0)
    expect(other.state).not.toBe(redirect.state)
  })

  it('takes a code with its issuer, and shows a page without either', async () => {
    const answer = redirect.answer(never)
    const page = await send(right('&iss=https%3A%2F%2Fauth.example.com'))
    expect(await answer).toEqual({
      code: 'the-code',
      error: undefined,
      iss: 'https://auth.example.com',
    })
    expect(page?.status).toBe(200)
    expect(page?.answer).toContain('go back to the terminal')
    expect(page?.answer).not.toMatch(/the-code|auth\.example/)
    expect(page?.answer).not.toContain(redirect.state)
    expect(page?.answer).toContain("content-security-policy: default-src 'none'")
    expect(page?.answer).toContain('referrer-policy: no-referrer')
    expect(page?.answer).toContain('cache-control: no-store')
  })

  it('takes an error', async () => {
    const answer = redirect.answer(never)
    await send(`/callback?error=access_denied&state=${redirect.state}`)
    expect(await answer).toEqual({ code: undefined, error: 'access_denied', iss: undefined })
  })

  it('gives up when the signal says so', async () => {
    const reason = new Error('Time is up')
    await expect(redirect.answer(AbortSignal.abort(reason))).rejects.toBe(reason)
    const later = new AbortController()
    const answer = redirect.answer(later.signal)
    later.abort(reason)
    await expect(answer).rejects.toBe(reason)
  })

  it('listens where it is told, and says when that is taken', async () => {
    await expect(listenForRedirect(port())).rejects.toThrow(`Port ${port()} of 127.0.0.1 is taken`)
    await redirect[Symbol.asyncDispose]()
    await using again = await listenForRedirect(port())
    expect(again.url.href).toBe(redirect.url.href)
  })
})

describe('threat: a page or program hands over a code of its own, or ends the login early', () => {
  const state = (value: string): string => `/callback?code=evil&state=${value}`

  async function expectIgnored(
    target: string,
    status: number,
    options?: Parameters<typeof send>[1],
  ): Promise<void> {
    const answer = redirect.answer(never)
    const refused = await send(target, options)
    expect(refused?.status).toBe(status)
    expect(refused?.answer).not.toContain('evil')
    await send(right())
    expect(await answer).toMatchObject({ code: 'the-code' })
  }

  it.each([
    ['no state', () => '/callback?code=evil', 400],
    ['an empty state', () => state(''), 400],
    ['the state of another login', () => state('A'.repeat(43)), 400],
    ['a prefix of the state', () => state(redirect.state.slice(0, -1)), 400],
    ['a suffix on the state', () => state(`${redirect.state}A`), 400],
    ['the state in another case', () => state(redirect.state.toUpperCase()), 400],
    ['two states', () => right(`&state=${redirect.state}`), 400],
    ['two codes', () => right('&code=evil'), 400],
    ['two issuers', () => right('&iss=a&iss=b'), 400],
    ['a code and an error', () => right('&error=access_denied'), 400],
    ['neither', () => `/callback?state=${redirect.state}`, 400],
    ['another path', () => right().replace('/callback', '/'), 404],
    ['a path behind it', () => right().replace('/callback', '/callback/'), 404],
    ['another case of the path', () => right().replace('/callback', '/Callback'), 404],
    ['another authority', () => `http://evil.example${right()}`, 404],
    ['a favicon', () => '/favicon.ico', 404],
  ])('takes nothing from %s, and waits on', (_name, target, status) =>
    expectIgnored(target(), status),
  )

  it.each([
    ['POST', 405, { method: 'POST' }],
    ['HEAD', 405, { method: 'HEAD' }],
    ['a rebound name', 400, { host: 'evil.example' }],
    ['a rebound name on the port', 400, { host: 'localhost' }],
  ])('takes nothing from %s, and waits on', (_name, status, options) =>
    expectIgnored(right(), status, options),
  )

  it('takes the first answer alone, and listens no more', async () => {
    const answer = redirect.answer(never)
    await send(right())
    expect(await send(right().replace('the-code', 'evil'))).toBeUndefined()
    expect(await answer).toMatchObject({ code: 'the-code' })
  })

  it('takes one of two that arrive together', async () => {
    const answer = redirect.answer(never)
    const results = await Promise.all([send(right()), send(right())])
    expect(results.filter((result) => result?.status === 200)).toHaveLength(1)
    expect(await answer).toMatchObject({ code: 'the-code' })
  })

  it('does not listen on other addresses of this machine', async () => {
    const addresses = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({ address }) => address !== '127.0.0.1')
    for (const { address, family, scopeid } of addresses) {
      const host = family === 'IPv6' && scopeid ? `${address}%${scopeid}` : address
      const socket = connect({ port: port(), host, timeout: 1000 })
      const reached = await new Promise<boolean>((resolve) => {
        socket.on('connect', () => resolve(true))
        socket.on('error', () => resolve(false))
        socket.on('timeout', () => resolve(false))
      })
      socket.destroy()
      expect({ host, reached }).toEqual({ host, reached: false })
    }
  })
})
