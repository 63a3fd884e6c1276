import fc from 'fast-check'
import type { Request, World } from './oracle.ts'

/** Requests that are nearly right: each part is good, a near miss of something good, or odd. */

/** Characters at which parsers differ; as the parser of Node hands them over, so Latin-1 at most. */
const ODD = [...' \t\0\r\n/\\:@.,;?#%&=+~_-*[](){}<>|^`\'"$!0159aAzZ\u00a0\u00ad\u00df\u00e9\u00ff']

const odd = fc.constantFrom(...ODD)

type Change = readonly [kind: number, at: number, character: string]
const change: fc.Arbitrary<Change> = fc.tuple(fc.nat(9), fc.nat(400), odd)

/** The text with one small change, at a place that is counted around its end. */
function changed(text: string, [kind, at, character]: Change): string {
  const index = at % (text.length + 1)
  const before = text.slice(0, index)
  const after = text.slice(index)
  switch (kind) {
    case 0:
      return before + character + after
    case 1:
      return before + character + after.slice(1)
    case 2:
      return before + after.slice(1)
    case 3:
      return before + swapCase(after.slice(0, 1)) + after.slice(1)
    case 4:
      return before
    case 5:
      return after
    case 6:
      return text + character + text
    case 7:
      return character + text
    case 8:
      return text + character
    default:
      return swapCase(text)
  }
}

function swapCase(text: string): string {
  return text.toLowerCase() === text ? text.toUpperCase() : text.toLowerCase()
}

/** Texts like these: one or two small changes away. */
function nearMiss(...good: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...good), fc.array(change, { minLength: 1, maxLength: 2 }))
    .map(([text, changes]) => changes.reduce(changed, text))
}

const latin1 = fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)) })

/** Mostly good, so that what is wrong is one thing at a time. */
function mostly<T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 2, arbitrary: good }, { weight: 1, arbitrary: bad })
}

type Values = readonly string[]
const one = (value: fc.Arbitrary<string>): fc.Arbitrary<Values> => value.map((text) => [text])

function hosts({ hosts: allowed }: World): fc.Arbitrary<Values> {
  const good = fc.constantFrom(...allowed)
  const [first = ''] = allowed
  const name = first.split(':')[0] ?? ''
  const odds = [
    '',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '[::ffff:127.0.0.1]',
    'localhost',
    `${name}.`,
    `${name}:443`,
    `${name}:0443`,
    `${name}:`,
    `user@${name}`,
    `${name}@evil.example`,
    `${name}.evil.example`,
    `evil.example#${name}`,
    `xn--${name}`,
    `${name}, evil.example`,
    `${name}%00.evil.example`,
  ]
  return mostly(
    one(fc.oneof(good, good.map(swapCase))),
    fc.oneof(
      one(nearMiss(...allowed)),
      one(fc.constantFrom(...odds)),
      one(fc.oneof(latin1, fc.domain(), fc.ipV4(), fc.ipV6())),
      fc.constant([]),
      fc.tuple(good, fc.oneof(good, fc.constant('evil.example'))),
    ),
  )
}

function origins({ origins: allowed }: World): fc.Arbitrary<Values> {
  const [first = ''] = allowed
  const name = first.replace('https://', '')
  const odds = [
    '',
    'null',
    '*',
    'file://',
    'chrome-extension://abcdef',
    'http://localhost:3000',
    'https://127.0.0.1',
    'http://[::1]:8080',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example:80',
    `${first}/`,
    `${first}:443`,
    `${first}.`,
    `http://${name}`,
    `https://user@${name}`,
    `https://evil.${name}`,
    `${first}.evil.example`,
    `${first} https://evil.example`,
    `${first},${first}`,
  ]
  return mostly(
    fc.oneof(fc.constant([]), one(fc.constantFrom(...allowed))),
    fc.oneof(
      one(nearMiss(...allowed)),
      one(fc.constantFrom(...odds)),
      one(fc.oneof(latin1, fc.webUrl())),
      fc.tuple(fc.constantFrom(...allowed), fc.constantFrom(...allowed, 'https://evil.example')),
    ),
  )
}

function targets({ hosts: allowed }: World): fc.Arbitrary<string> {
  const paths = [
    '/mcp',
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-protected-resource/mcp',
  ]
  const absolute = fc
    .tuple(
      fc.constantFrom('http://', 'https://', 'HTTP://', 'ftp://', '//'),
      fc.oneof(fc.constantFrom(...allowed, 'evil.example', ''), nearMiss(...allowed)),
      fc.constantFrom(...paths, '', '?', '/'),
    )
    .map((parts) => parts.join(''))
  const odds = [
    '/',
    '*',
    '',
    'mcp',
    '/mcp/',
    '//mcp',
    '/./mcp',
    '/x/../mcp',
    '/mcp;x',
    '/mcp?',
    '/mcp?access_token=x',
    '/mcp#x',
    '/MCP',
    '/%6dcp',
    '/mcp%00',
    '/mcp%2f',
    '/mcp%3f',
    '\\mcp',
    '/sse',
    '/messages',
    '/livez',
    '/metrics',
    '/healthz',
    '/.well-known/oauth-authorization-server',
    '/.well-known/oauth-protected-resource/other',
  ]
  return mostly(
    fc.constant('/mcp'),
    fc.oneof(
      fc.constantFrom(...paths),
      nearMiss(...paths),
      fc.constantFrom(...odds),
      fc.webPath(),
      absolute,
    ),
  )
}

/** Characters that make a token68, and a few that do not. */
const token = fc.string({ unit: fc.constantFrom(...'abzAZ019-._~+/=', ' ', ','), maxLength: 40 })

function credentials(world: World, dead: readonly string[]): fc.Arbitrary<Values> {
  const keys = [...world.goodKeys, ...world.unscopedKeys, ...dead]
  const text = fc.oneof(
    fc.constantFrom(...keys),
    nearMiss(...keys),
    token,
    fc.constantFrom('null', 'undefined', '', '=', 'a=b', 'mcpk_', 'eyJ.eyJ.sig', 'a'.repeat(8193)),
    fc.tuple(fc.constantFrom(...keys), fc.constantFrom(...keys)).map((two) => two.join(', ')),
  )
  const scheme = fc.oneof(
    fc.constantFrom('Bearer', 'bearer', 'BEARER', 'DPoP', 'Basic', 'Digest', 'Bearerr', 'Token'),
    nearMiss('Bearer'),
  )
  const space = fc.constantFrom(' ', ' ', ' ', '  ', '', '\t', ':', ' Bearer ', '\u00a0')
  const end = fc.constantFrom('', '', '', '', ' ', '=', '==', ',', '\t', ' x=y')
  const header = fc.tuple(scheme, space, text, end).map((parts) => parts.join(''))
  const good = fc.constantFrom(...world.goodKeys).map((key) => `Bearer ${key}`)
  return mostly(
    one(good),
    fc.oneof(
      { weight: 6, arbitrary: one(header) },
      { weight: 4, arbitrary: one(fc.constantFrom(...keys).map((key) => `Bearer ${key}`)) },
      { weight: 3, arbitrary: one(nearMiss(...keys.map((key) => `Bearer ${key}`))) },
      { weight: 1, arbitrary: one(latin1) },
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.tuple(good, header) },
    ),
  )
}

function keyHeaders({ keyHeader, goodKeys }: World): fc.Arbitrary<Values> {
  const name = fc.constantFrom(...goodKeys)
  const some = fc.oneof(one(name), one(nearMiss(...goodKeys)), one(token), fc.tuple(name, name))
  const none = fc.constant([])
  return fc.oneof({ weight: keyHeader === null ? 20 : 5, arbitrary: none }, some)
}

/** Headers that open nothing, whatever they say. */
const DISTRACTIONS = [
  ['x-forwarded-for', '127.0.0.1'],
  ['x-forwarded-host', 'localhost'],
  ['x-real-ip', '127.0.0.1'],
  ['x-original-url', '/healthz'],
  ['x-http-method-override', 'GET'],
  ['forwarded', 'for=127.0.0.1;host=localhost'],
  ['user-agent', 'kube-probe/1.31'],
  ['cookie', 'access_token=x; session=y'],
  ['ssl-client-verify', 'SUCCESS'],
  ['x-forwarded-client-cert', 'Hash=00'],
  ['mcp-session-id', '1'],
  ['proxy-authorization', 'Bearer x'],
  ['access-control-request-method', 'POST'],
  ['sec-fetch-site', 'cross-site'],
  ['sec-fetch-site', 'same-origin'],
] as const
const distractions = fc.array(fc.constantFrom(...DISTRACTIONS), { maxLength: 2 })

/** @param dead texts like keys that are not good */
export function requests(world: World, dead: readonly string[]): fc.Arbitrary<Request> {
  return fc
    .record({
      method: fc.oneof(
        { weight: 6, arbitrary: fc.constant('POST') },
        {
          weight: 2,
          arbitrary: fc.constantFrom('GET', 'OPTIONS', 'DELETE', 'PUT', 'HEAD', 'PATCH'),
        },
      ),
      isPreflight: fc.boolean(),
      target: targets(world),
      host: hosts(world),
      origin: origins(world),
      authorization: credentials(world, dead),
      key: keyHeaders(world),
      distractions,
      isShouted: fc.boolean(),
    })
    .map(({ method, target, host, origin, authorization, key, isShouted, ...rest }) => {
      const asks = method === 'OPTIONS' && rest.isPreflight
      const headers: (readonly [string, string])[] = [
        ...(asks ? [['access-control-request-method', 'POST'] as const] : []),
        ...host.map((value) => ['host', value] as const),
        ...origin.map((value) => ['origin', value] as const),
        ...authorization.map((value) => ['authorization', value] as const),
        ...key.map((value) => [world.keyHeader ?? 'x-api-key', value] as const),
        ...rest.distractions,
      ]
      const named = isShouted
        ? headers.map(([name, value]) => [name.toUpperCase(), value] as const)
        : headers
      return { method, target, headers: named }
    })
}
