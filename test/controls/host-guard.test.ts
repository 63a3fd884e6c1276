import { describe, expect, it } from 'vitest'
import { HOST, testApp, type WireHeaders } from '../app.ts'
import { expectRefused, expectServed } from '../expect-refused.ts'

const LISTED = 'internal.example:3000'
const app = testApp({
  env: { NODE_ENV: 'production' },
  policies: (shipped) => ({ ...shipped, http: { ...shipped.http, hosts: [LISTED, '10.20.0.5'] } }),
})

describe('threat: DNS rebinding, a name of the attacker reaches this server as same-origin', () => {
  it.each([
    ['a foreign name', 'evil.example'],
    ['null', 'null'],
    ['a property of all objects', 'constructor'],
    ['an allowed host as a prefix', `${HOST}.evil.example`],
    ['an allowed host as a suffix', `evil-${HOST}`],
    ['a subdomain', `a.${HOST}`],
    ['the parent domain', 'example.com'],
    ['one character less', HOST.slice(0, -1)],
    ['one character more', `${HOST}x`],
    ['a trailing dot', `${HOST}.`],
    ['a port that is not listed', `${HOST}:8443`],
    ['the default port, spelled out', `${HOST}:443`],
    ['port 0', `${HOST}:0`],
    ['the listed host without its port', 'internal.example'],
    ['the listed host on another port', 'internal.example:3001'],
    ['the listed port with a zero before it', 'internal.example:03000'],
    ['another address', '10.20.0.6'],
    ['a listed address in decimal', '169082885'],
    ['a listed address in hexadecimal', '0x0a140005'],
    ['a listed address in octal', '012.024.0.05'],
    ['a listed address, shortened', '10.20.5'],
    ['a listed address, mapped', '[::ffff:10.20.0.5]'],
    ['loopback in decimal', '2130706433'],
    ['loopback in hexadecimal', '0x7f000001'],
    ['loopback in hexadecimal parts', '0x7f.1'],
    ['loopback in octal', '0177.0.0.1'],
    ['loopback, shortened', '127.1'],
    ['another loopback address', '127.0.0.2'],
    ['the unspecified address', '0.0.0.0'],
    ['loopback, mapped', '[::ffff:127.0.0.1]'],
    ['loopback, mapped in hexadecimal', '[::ffff:7f00:1]'],
    ['loopback, written out', '[0:0:0:0:0:0:0:1]'],
    ['a link-local address', '169.254.169.254'],
    ['punycode of a look-alike', 'xn--mcp-5cd.example.com'],
    ['a name that resolves to loopback', 'localtest.me'],
    ['a subdomain of localhost', 'a.localhost'],
    ['one letter', 'm'],
    ['a name of 254 characters', 'a'.repeat(254)],
    ['the shortest IPv6 address', '[::]'],
    ['the longest IPv6 address', `[${'0000:'.repeat(6)}255.255.255.255]`],
  ])('refuses %s: %s', async (_name, host) => {
    const response = await app.send({ headers: { host } })
    expectRefused(app, response, 421, 'host-guard.not-allowed')
    expect(response.bodyRead).toBe(false)
    expect(app.verified()).toBe(0)
  })

  it.each([
    ['an empty one', ''],
    ['a scheme', `https://${HOST}`],
    ['a path', `${HOST}/mcp`],
    ['userinfo', `user@${HOST}`],
    ['a foreign name as userinfo', `evil.example@${HOST}`],
    ['an allowed name as userinfo', `${HOST}@evil.example`],
    ['two hosts', `${HOST},evil.example`],
    ['two hosts and a space', `${HOST}, evil.example`],
    ['a space before', ` ${HOST}`],
    ['a space after', `${HOST} `],
    ['a tab', `${HOST}\t`],
    ['a zero byte', `${HOST}\0`],
    ['an empty port', `${HOST}:`],
    ['a port that is no number', `${HOST}:https`],
    ['a port of six digits', `${HOST}:100443`],
    ['two ports', `${HOST}:443:443`],
    ['a wildcard', '*'],
    ['a wildcard label', '*.example.com'],
    ['a dot', '.'],
    ['a dot before', `.${HOST}`],
    ['a percent escape', 'mcp%2eexample.com'],
    ['an underscore', 'mcp_example.com'],
    ['a Cyrillic look-alike', 'm\u0441p.example.com'],
    ['full-width letters', '\uff4d\uff43\uff50.example.com'],
    ['an ideographic full stop', 'mcp\u3002example.com'],
    ['IPv6 without brackets', '::1'],
    ['IPv6 with a zone', '[fe80::1%25eth0]'],
    ['an open bracket', '[::1'],
    ['a name of 255 characters', 'a'.repeat(255)],
    ['a colon in brackets', '[:]'],
    ['an address of 46 characters', `[${'0000:'.repeat(6)}0255.255.255.255]`],
  ])('refuses what is not an authority: %s', async (_name, host) => {
    const response = await app.send({ headers: { host } })
    expectRefused(app, response, 400, 'host-guard.malformed')
  })

  it('refuses a request without Host', async () => {
    const response = await app.send({ headers: { host: null } })
    expectRefused(app, response, 400, 'host-guard.malformed')
  })

  it('refuses two of them', async () => {
    const wire: WireHeaders = [
      ['Host', HOST],
      ['host', HOST],
    ]
    expectRefused(app, await app.send({ wire }), 400, 'wire-guard.duplicate-header')
  })

  it.each(['x-forwarded-host', 'x-host', 'x-original-host', 'forwarded', ':authority'])(
    'does not take the host from %s',
    async (header) => {
      const response = await app.send({ headers: { host: 'evil.example', [header]: HOST } })
      expectRefused(app, response, 421, 'host-guard.not-allowed')
    },
  )

  it.each([
    ['the public name', HOST],
    ['the public name in upper case', HOST.toUpperCase()],
    ['a listed host and port', LISTED],
    ['a listed address', '10.20.0.5'],
  ])('lets %s through', async (_name, host) => {
    expectServed(await app.send({ headers: { host } }))
  })
})

describe('threat: an absolute-form target, its host is checked nowhere', () => {
  it.each([
    ['a foreign authority', 'http://evil.example/mcp'],
    ['another port', `http://${HOST}:8443/mcp`],
    ['the default port, spelled out', `https://${HOST}:443/mcp`],
    ['userinfo', `http://user@${HOST}/mcp`],
    ['the Host as userinfo', `http://${HOST}@evil.example/mcp`],
    ['the Host as a prefix', `http://${HOST}.evil.example/mcp`],
    ['another listed host', `http://${LISTED}/mcp`],
    ['a trailing dot', `http://${HOST}./mcp`],
  ])('refuses %s', async (_name, target) => {
    const response = await app.send({ target })
    expectRefused(app, response, 400, 'host-guard.authority-mismatch')
    expect(response.bodyRead).toBe(false)
  })

  it('refuses an authority that equals Host and is not allowed', async () => {
    const response = await app.send({
      target: 'http://evil.example/mcp',
      headers: { host: 'evil.example' },
    })
    expectRefused(app, response, 421, 'host-guard.not-allowed')
  })

  it.each([
    ['the authority of Host', `http://${HOST}/mcp`, HOST],
    ['the same in another case', `http://${HOST.toUpperCase()}/mcp`, HOST],
    ['another listed host in both', `https://${LISTED}/mcp`, LISTED],
  ])('lets %s through', async (_name, target, host) => {
    expectServed(await app.send({ target, headers: { host } }))
  })
})

describe('threat: names of development, a production server answers to localhost', () => {
  const env = { MCP_PUBLIC_URL: 'http://127.0.0.1:3000/mcp' }
  const development = testApp({ env })
  const NAMES = ['localhost:3000', '127.0.0.1:3000', '[::1]:3000']

  it.each(NAMES)('refuses %s in production', async (host) => {
    const response = await app.send({ headers: { host } })
    expectRefused(app, response, 421, 'host-guard.not-allowed')
  })

  it.each(NAMES)('answers to %s in development', async (host) => {
    expectServed(await development.send({ headers: { host } }))
  })

  it.each([
    'localhost',
    'localhost:3001',
    '127.0.0.2:3000',
    '127.1:3000',
    '2130706433:3000',
    'a.localhost:3000',
    'localhost.:3000',
    '[::ffff:127.0.0.1]:3000',
    '0.0.0.0:3000',
    'evil.example:3000',
  ])('refuses %s in development too', async (host) => {
    const response = await development.send({ headers: { host } })
    expectRefused(development, response, 421, 'host-guard.not-allowed')
  })
})
