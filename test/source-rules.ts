import { posix } from 'node:path'
import { type Node, SyntaxKind } from 'typescript/unstable/ast'
import {
  isAsExpression,
  isCallExpression,
  isElementAccessExpression,
  isIdentifier,
  isNewExpression,
  isPropertyAccessExpression,
} from 'typescript/unstable/ast/is'
import { childrenOf, type Import, type Source } from './source-tree.ts'

/** A rule about one file of `src`. */
export interface Rule {
  readonly name: string
  /** @returns what is wrong, each with a line; empty when nothing is. */
  check(source: Source): readonly Finding[]
}

export interface Finding {
  readonly line: number
  readonly what: string
}

function nodeRule(name: string, what: (node: Node, path: string) => string | undefined): Rule {
  return {
    name,
    check: ({ nodes, path }) =>
      nodes.flatMap(({ node, line }) => {
        const found = what(node, path)
        return found === undefined ? [] : [{ line, what: found }]
      }),
  }
}

function importRule(name: string, what: (i: Import, path: string) => string | undefined): Rule {
  return {
    name,
    check: ({ imports, path }) =>
      imports.flatMap((entry) => {
        const found = what(entry, path)
        return found === undefined ? [] : [{ line: entry.line, what: found }]
      }),
  }
}

const FORBIDDEN_SYNTAX: ReadonlyMap<SyntaxKind, string> = new Map([
  [SyntaxKind.AnyKeyword, 'any'],
  [SyntaxKind.TypeAssertionExpression, 'a cast'],
  [SyntaxKind.NonNullExpression, 'a non-null assertion'],
  [SyntaxKind.EnumDeclaration, 'an enum'],
  [SyntaxKind.ModuleDeclaration, 'a namespace'],
  [SyntaxKind.Decorator, 'a decorator'],
])

/**
 * What a module of Node may be used for outside `src/outbound.ts`: listening, reading addresses, and
 * knowing a connection that came in over TLS.
 */
const LISTENING = new Set([
  'createServer',
  'createSecureContext',
  'Server',
  'TLSSocket',
  'STATUS_CODES',
  'BlockList',
  'SocketAddress',
  'isIP',
  'isIPv4',
  'isIPv6',
])
const NETWORK = /^(node:)?(http|https|http2|net|tls|dgram|dns|dns\/promises)$|^undici$/
const CLIENTS = new Set(['WebSocket', 'EventSource', 'XMLHttpRequest', 'TLSSocket'])

/** Modules and names that are not used at all, each with what is used in their place. */
const BANNED_MODULES: ReadonlyMap<string, string> = new Map([
  ['hono/jwt', 'jose (CVE-2026-22817, CVE-2026-44459)'],
  ['hono/jwk', 'jose (CVE-2026-22818)'],
  ['hono/ip-restriction', 'src/networks.ts (CVE-2026-47674)'],
  ['hono/serve-static', 'nothing: no static files (CVE-2026-29087)'],
  ['@hono/node-server/serve-static', 'nothing: no static files (CVE-2026-39406)'],
  ['node:child_process', 'nothing: no shell'],
  ['node:vm', 'nothing: no evaluation of text'],
])
const BANNED_NAMES: ReadonlyMap<string, string> = new Map([
  ['createMcpHonoApp', 'src/app.ts: it parses the body before authentication'],
  ['originValidationResponse', 'src/controls/origin-guard.ts: it compares host names only'],
  ['validateOriginHeader', 'src/controls/origin-guard.ts: it compares host names only'],
  ['hostHeaderValidationResponse', 'src/controls/host-guard.ts: it canonicalises'],
  ['createRemoteJWKSet', 'src/outbound.ts: it fetches by itself'],
])

/** Folders and files of `src`, and what they must not import but for types. */
const DIRECTIONS: readonly { from: RegExp; not: RegExp; why: string }[] = [
  { from: /./, not: /^(main\.ts|stdio\.ts|cli\/[^/]+$)/, why: 'nothing imports an entry point' },
  { from: /^(?!cli\/)/, not: /^cli\//, why: 'the server does not import its commands' },
  {
    from: /^(?!main|run\.ts|stdio|cli\/|app\.ts|assemble\.ts|listen\.ts|reload\.ts|admin\/)/,
    not: /^(app|assemble|run|listen|admin\/)/,
    why: 'parts do not import what puts them together',
  },
  {
    from: /^(errors|context|define|raw-headers|secrets|config|policy)/,
    not: /^(controls|access|auth|audit|mcp|stores|tools|resources|prompts)\//,
    why: 'the contracts do not import the parts',
  },
  {
    from: /^(tools|resources|prompts)\//,
    not: /^(?!tools\/|resources\/|prompts\/|define\.ts|context\.ts)/,
    why: "the fork's own part sees define.ts and itself",
  },
  {
    from: /^stores\//,
    not: /^(controls|access|auth|audit|mcp|tools|resources|prompts)\//,
    why: 'a store knows nothing of what it stores',
  },
]

/** The file that an import of the project names, relative to `src`; `undefined` for a package. */
export function targetOf(specifier: string, path: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined
  return posix.relative('src', posix.join(posix.dirname(path), specifier))
}

const isGlobal = (node: Node, name: string): boolean =>
  (isIdentifier(node) && node.text === name) ||
  (isPropertyAccessExpression(node) &&
    node.name.text === name &&
    isIdentifier(node.expression) &&
    node.expression.text === 'globalThis')

const textOfName = (node: Node | undefined): string | undefined =>
  node !== undefined && isIdentifier(node) ? node.text : undefined

export const RULES: readonly Rule[] = [
  nodeRule('no casts, any, enums, namespaces or decorators', (node) => {
    const cast = isAsExpression(node) && node.type.getText() !== 'const'
    return cast ? 'a cast' : FORBIDDEN_SYNTAX.get(node.kind)
  }),
  {
    name: 'no file over 250 lines',
    check: ({ text }) => {
      const lines = text.trimEnd().split('\n').length
      return lines > 250 ? [{ line: lines, what: 'does two things: split it' }] : []
    },
  },
  nodeRule('names are ASCII', (node) =>
    isIdentifier(node) && /[^\u0020-\u007e]/.test(node.text) ? 'a look-alike letter' : undefined,
  ),
  nodeRule('the environment is read in src/config.ts only', (node, path) => {
    if (path === 'src/config.ts') return undefined
    const found =
      (isPropertyAccessExpression(node) &&
        node.name.text === 'env' &&
        isGlobal(node.expression, 'process')) ||
      (isElementAccessExpression(node) && isGlobal(node.expression, 'process')) ||
      (node.kind === SyntaxKind.VariableDeclaration &&
        childrenOf(node).some((child) => isGlobal(child, 'process')))
    return found ? 'reads process.env' : undefined
  }),
  importRule('the environment is not imported', ({ specifier, values }, path) => {
    const found =
      /^(node:)?process$/.test(specifier) && values.some((v) => v === '*' || v === 'env')
    return found && path !== 'src/config.ts' ? 'imports process.env' : undefined
  }),
  importRule('the MCP SDK is imported in src/mcp only', ({ specifier }, path) =>
    specifier.startsWith('@modelcontextprotocol/') && !path.startsWith('src/mcp/')
      ? `imports ${specifier}`
      : undefined,
  ),
  nodeRule('connections are opened in src/outbound.ts only', (node, path) => {
    if (path === 'src/outbound.ts') return undefined
    if (isCallExpression(node) && isGlobal(node.expression, 'fetch')) return 'calls fetch'
    if (isPropertyAccessExpression(node) && isGlobal(node, 'fetch')) return 'takes fetch'
    const client = isNewExpression(node) ? textOfName(node.expression) : undefined
    return client !== undefined && CLIENTS.has(client) ? `opens a ${client}` : undefined
  }),
  importRule('modules that connect are for listening only', ({ specifier, values }, path) => {
    if (path === 'src/outbound.ts' || !NETWORK.test(specifier)) return undefined
    const found = values.find((value) => !LISTENING.has(value))
    return found === undefined ? undefined : `imports ${found} of ${specifier}`
  }),
  importRule('modules with advisories, shells and evaluation are not used', ({ specifier }) => {
    const instead = BANNED_MODULES.get(specifier)
    return instead === undefined ? undefined : `imports ${specifier}; use ${instead}`
  }),
  importRule('functions that decide less than ours are not used', ({ specifier, values }) => {
    if (specifier === '') return 'imports a computed module'
    const name = values.find((value) => BANNED_NAMES.has(value))
    return name === undefined ? undefined : `imports ${name}; use ${BANNED_NAMES.get(name)}`
  }),
  nodeRule('no text is evaluated', (node) => {
    const called = isCallExpression(node) || isNewExpression(node)
    if (!called) return undefined
    const found = ['eval', 'Function'].find((name) => isGlobal(node.expression, name))
    return found === undefined ? undefined : `calls ${found}`
  }),
  nodeRule('routes are not mounted and files are not served', (node) => {
    if (!isCallExpression(node) || !isPropertyAccessExpression(node.expression)) return undefined
    return node.expression.name.text === 'mount' ? 'calls mount (GHSA-r354-f388-2fhh)' : undefined
  }),
  importRule('controls import only types of other controls', ({ specifier, values }, path) => {
    const target = targetOf(specifier, path)
    const found = path.startsWith('src/controls/') && target?.startsWith('controls/')
    return found && values.length > 0 ? `imports ${values.join(', ')} of ${target}` : undefined
  }),
  importRule('imports point one way', ({ specifier, values }, path) => {
    const target = targetOf(specifier, path)
    if (target === undefined || values.length === 0) return undefined
    const from = path.slice('src/'.length)
    const broken = DIRECTIONS.find((rule) => rule.from.test(from) && rule.not.test(target))
    return broken === undefined ? undefined : `imports ${target}: ${broken.why}`
  }),
]

/** Cycles of imports that exist at run time, each as the files on its way. */
export function importCycles(sources: readonly Source[]): readonly string[] {
  const edges = new Map(
    sources.map(({ path, imports }) => [
      path.slice('src/'.length),
      imports.flatMap(({ specifier, values }) =>
        values.length === 0 ? [] : [targetOf(specifier, path) ?? ''],
      ),
    ]),
  )
  const cycles: string[] = []
  const done = new Set<string>()
  const walk = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) cycles.push([...way.slice(way.indexOf(file)), file].join(' -> '))
    if (way.includes(file) || done.has(file)) return
    for (const next of edges.get(file) ?? []) walk(next, [...way, file])
    done.add(file)
  }
  for (const file of edges.keys()) walk(file, [])
  return cycles
}
