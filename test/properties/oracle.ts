/**
 * What the server must answer, written from the design alone: the way of a request, its endpoints and
 * its policies. It imports nothing of the product and shares no way of doing things with it: where the
 * product matches patterns, this walks through the text.
 */

export interface Request {
  readonly method: string
  /** Request target as it is in the request line. */
  readonly target: string
  /** In order, doubles included. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

/** What is allowed, and who is known. */
export interface World {
  /** Authorities, lower case. */
  readonly hosts: readonly string[]
  readonly origins: readonly string[]
  /** Pages of this machine may call, on any port. */
  readonly development: boolean
  /** Lower case; `null` for none. */
  readonly keyHeader: string | null
  /** Live keys that hold the base scope. */
  readonly goodKeys: readonly string[]
  /** Live keys that do not. */
  readonly unscopedKeys: readonly string[]
}

export interface Verdict {
  /** Each is right: where several things are wrong with a text, the design does not say which counts. */
  readonly statuses: readonly number[]
  /** Whether the handler may see it. Then it must. */
  readonly reaches: boolean
  /** Whether anything of the body may be read: the caller is proven. */
  readonly reads: boolean
}

const ENDPOINT = '/mcp'
const DOCUMENTS = [
  '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-protected-resource/mcp',
]
/** Headers of these tests that may come more than once. All others decide something. */
const LISTS = ['accept', 'cookie', 'forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host']
const MAX_TOKEN = 8192

/** Refused as one of these, perhaps refused, or not at all. */
type Step = { readonly refused: readonly number[] } | { readonly perhaps: number } | 'passes'

export function verdictOf(request: Request, world: World): Verdict {
  const values = (name: string): readonly string[] =>
    request.headers.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value)
  const { path, authority, hasQuery, isClean } = partsOf(request.target)

  const statuses: number[] = []
  const steps: readonly (() => Step)[] = [
    () => (path === undefined ? { refused: [400] } : 'passes'),
    () => (isClean ? 'passes' : { perhaps: 400 }),
    () => (hasDoubles(request) ? { refused: [400] } : 'passes'),
    () => hostStep(values('host')[0], authority, world),
    () => originStep(values('origin')[0], values('sec-fetch-site')[0], world),
    () => {
      const isPreflight =
        request.method === 'OPTIONS' &&
        values('origin').length > 0 &&
        values('access-control-request-method').length > 0
      return isPreflight ? { refused: [204] } : 'passes'
    },
    () => (methodsOf(path).length === 0 ? { refused: [404] } : 'passes'),
    () => {
      if (methodsOf(path).includes(request.method)) return 'passes'
      return hasQuery ? { perhaps: 405 } : { refused: [405] }
    },
    () => (hasQuery ? { refused: [400] } : 'passes'),
    () => (path === ENDPOINT ? 'passes' : { refused: [200] }),
    () => credentialStep(values('authorization')[0], keyOf(values, world), world),
  ]
  for (const step of steps) {
    const result = step()
    if (result === 'passes') continue
    if ('refused' in result) return { ...REFUSED, statuses: [...statuses, ...result.refused] }
    statuses.push(result.perhaps)
  }
  // Nothing that may be refused may run.
  if (statuses.length > 0) return { ...REFUSED, statuses }
  const token = values('authorization')[0]?.split(' ').at(-1) ?? keyOf(values, world) ?? ''
  // Scopes are looked at when the message is known.
  if (world.unscopedKeys.includes(token)) return { statuses: [403], reaches: false, reads: true }
  return { statuses: [200], reaches: true, reads: true }
}

const REFUSED = { reaches: false, reads: false } as const

interface Parts {
  /** `undefined` when the target is no path and no absolute URI. */
  readonly path: string | undefined
  readonly authority: string | undefined
  readonly hasQuery: boolean
  /** Made of nothing but what RFC 3986 has in paths and queries. */
  readonly isClean: boolean
}

function partsOf(target: string): Parts {
  let rest = target
  let authority: string | undefined
  for (const scheme of ['http://', 'https://']) {
    if (!target.startsWith(scheme)) continue
    const slash = target.indexOf('/', scheme.length)
    authority = target.slice(scheme.length, slash === -1 ? undefined : slash)
    rest = slash === -1 ? '' : target.slice(slash)
  }
  const isWrong = (character: string): boolean =>
    character <= ' ' || character > '~' || '"#\\'.includes(character)
  const bad =
    !rest.startsWith('/') ||
    [...rest].some(isWrong) ||
    (authority !== undefined && (authority === '' || /[?#\\]/.test(authority)))
  const [path = '', ...query] = rest.split('?')
  return {
    path: bad ? undefined : path,
    authority,
    hasQuery: query.length > 0,
    isClean: ![...rest].some((character) => '<>^`{|}'.includes(character)),
  }
}

function hasDoubles({ headers }: Request): boolean {
  const seen = new Set<string>()
  for (const [given] of headers) {
    const name = given.toLowerCase()
    if (seen.has(name) && !LISTS.includes(name)) return true
    seen.add(name)
  }
  return false
}

function hostStep(host: string | undefined, authority: string | undefined, world: World): Step {
  if (host === undefined || host === '') return { refused: [400] }
  const value = lower(host)
  const isAllowed = world.hosts.includes(value)
  if (authority !== undefined && lower(authority) !== value) return { refused: [400] }
  if (isAllowed) return 'passes'
  const name = value.slice(0, value.includes(':') ? value.indexOf(':') : undefined)
  const port = value.slice(name.length)
  const isName = name !== '' && [...name].every((c) => isAlphanumeric(c) || '.-'.includes(c))
  const isPort = port === '' || (port.length > 1 && port.length < 7 && isDigits(port.slice(1)))
  const isLabel = isName && isAlphanumeric(name.charAt(0))
  if (isLabel && isPort && value.length < 250) return { refused: [421] }
  const isMalformed = [...value].some((c) => c <= ' ' || c > '~' || '@/\\?#,'.includes(c))
  return { refused: isMalformed ? [400] : [400, 421] }
}

function originStep(origin: string | undefined, site: string | undefined, world: World): Step {
  if (origin === undefined) return site === 'cross-site' ? { refused: [403] } : 'passes'
  if (world.origins.includes(origin)) return 'passes'
  return world.development && isLoopbackOrigin(origin) ? 'passes' : { refused: [403] }
}

function isLoopbackOrigin(origin: string): boolean {
  const schemes = ['http://', 'https://']
  const names = ['localhost', '127.0.0.1', '[::1]']
  return schemes.some((scheme) =>
    names.some((name) => {
      if (origin === scheme + name) return true
      const before = `${scheme}${name}:`
      const port = origin.slice(before.length)
      return origin.startsWith(before) && isDigits(port) && port.length <= 5
    }),
  )
}

function methodsOf(path: string | undefined): readonly string[] {
  if (path === ENDPOINT) return ['POST']
  return DOCUMENTS.includes(path ?? '') ? ['GET'] : []
}

function keyOf(
  values: (name: string) => readonly string[],
  { keyHeader }: World,
): string | undefined {
  return keyHeader === null ? undefined : values(keyHeader)[0]
}

function credentialStep(
  authorization: string | undefined,
  key: string | undefined,
  world: World,
): Step {
  if (authorization !== undefined && key !== undefined) return { refused: [400] }
  if (key !== undefined) return key === '' ? { refused: [400] } : tokenStep(key, world)
  if (authorization === undefined) return { refused: [401] }

  const space = authorization.indexOf(' ')
  const scheme = space === -1 ? authorization : authorization.slice(0, space)
  if (scheme === '' || ![...scheme].every(isTokenCharacter)) return { refused: [400] }
  const isBearer = lower(scheme) === 'bearer'
  if (!isBearer && lower(scheme) !== 'dpop') return { refused: [401] }
  let token = space === -1 ? '' : authorization.slice(space)
  while (token.startsWith(' ')) token = token.slice(1)
  if (!isToken68(token)) return { refused: [400] }
  // Keys are sent as Bearer, and no key is bound to another one.
  return isBearer ? tokenStep(token, world) : { refused: [401] }
}

function tokenStep(token: string, { goodKeys, unscopedKeys }: World): Step {
  if (token.length > MAX_TOKEN) return { refused: [401] }
  const isLive = goodKeys.includes(token) || unscopedKeys.includes(token)
  return isLive ? 'passes' : { refused: [401] }
}

/** RFC 9110 §11.2. */
function isToken68(text: string): boolean {
  let end = text.length
  while (end > 0 && text.charAt(end - 1) === '=') end -= 1
  const body = [...text.slice(0, end)]
  return body.length > 0 && body.every((c) => isAlphanumeric(c) || '-._~+/'.includes(c))
}

/** RFC 9110 §5.6.2. */
function isTokenCharacter(c: string): boolean {
  return isAlphanumeric(c) || "!#$%&'*+-.^_`|~".includes(c)
}

function isAlphanumeric(c: string): boolean {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || isDigits(c)
}

function isDigits(text: string): boolean {
  return text !== '' && [...text].every((c) => c >= '0' && c <= '9')
}

/** ASCII alone: U+212A and its like have lower-case forms in ASCII. */
function lower(text: string): string {
  return [...text].map((c) => (c >= 'A' && c <= 'Z' ? c.toLowerCase() : c)).join('')
}
