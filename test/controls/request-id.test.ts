import { describe, expect, it } from 'vitest'
import { testApp } from '../app.ts'
import { expectServed } from '../expect-refused.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('threat: a chosen request id, a caller hides its request among those of others', () => {
  const app = testApp()

  it.each([
    ['a plausible one', 'x-request-id', '00000000-0000-4000-8000-000000000000'],
    ['an empty one', 'x-request-id', ''],
    ['null', 'x-request-id', 'null'],
    ['a property of all objects', 'x-request-id', 'constructor'],
    ['one with a line of its own', 'x-request-id', 'a b\tc'],
    ['the name of other servers', 'x-correlation-id', 'chosen-by-caller'],
    ['the name of proxies', 'x-amzn-trace-id', 'chosen-by-caller'],
  ])('does not take %s', async (_name, header, value) => {
    const response = await app.send({ headers: { [header]: value } })

    expectServed(response)
    const id = response.headers.get('x-request-id') ?? ''
    expect(id).toMatch(UUID)
    expect(id).not.toBe(value)
    expect(response.events.map((event) => 'requestId' in event && event.requestId)).toEqual([
      id,
      id,
      id,
    ])
  })

  it('gives each request another one', async () => {
    const ids = new Set<string | null>()
    for (let count = 0; count < 20; count += 1) {
      ids.add((await app.send()).headers.get('x-request-id'))
    }
    expect(ids.size).toBe(20)
  })
})

describe('threat: a forged forwarding header, a caller is counted under the address of another', () => {
  const PEER = '203.0.113.7'
  const PROXY = '10.0.0.2'
  const direct = testApp()
  const behindProxy = testApp({ env: { MCP_TRUSTED_PROXIES: '10.0.0.0/24' } })

  it.each([
    'x-forwarded-for',
    'forwarded',
    'x-real-ip',
    'x-client-ip',
    'cf-connecting-ip',
    'true-client-ip',
    'x-original-url',
    'x-forwarded-uri',
    'x-forwarded-host',
    'x-forwarded-proto',
  ])('reads no %s of a caller, whoever is trusted', async (header) => {
    for (const app of [direct, behindProxy]) {
      const response = await app.send({ headers: { [header]: '198.51.100.9' }, peer: PEER })
      expectServed(response)
      for (const event of response.events) expect(event).toMatchObject({ address: PEER })
      expect(response.events.at(-1)).toMatchObject({ path: '/mcp' })
    }
  })

  it.each([
    ['one hop', '198.51.100.9', '198.51.100.9'],
    ['a forged first hop', '192.0.2.66, 198.51.100.9', '198.51.100.9'],
    ['a second trusted proxy', '198.51.100.9, 10.0.0.3', '198.51.100.9'],
    ['a mapped address', '::ffff:198.51.100.9', '198.51.100.9'],
    ['an empty header', '', PROXY],
    ['what is not an address', '198.51.100.9, unknown', PROXY],
  ])('reads x-forwarded-for of a trusted proxy: %s', async (_name, value, address) => {
    const response = await behindProxy.send({ headers: { 'x-forwarded-for': value }, peer: PROXY })
    expectServed(response)
    for (const event of response.events) expect(event).toMatchObject({ address })
  })

  it('reads only x-forwarded-for of a trusted proxy', async () => {
    const response = await behindProxy.send({
      headers: { 'x-real-ip': '198.51.100.9', forwarded: 'for=198.51.100.9' },
      peer: PROXY,
    })
    expect(response.events.at(-1)).toMatchObject({ address: PROXY })
  })
})
