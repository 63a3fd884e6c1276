import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { fileURLToPath } from 'node:url'
import type { PageConfig } from './types.ts'

export interface PageOptions extends PageConfig {
  /** 0 for a free one. */
  readonly port: number
  /** Origins besides the page's own that the page may talk to: server and issuers. */
  readonly connect: readonly string[]
}

export interface PageServer extends AsyncDisposable {
  /** With a slash at the end. */
  readonly url: string
}

/**
 * Serves the page and nothing else, on loopback.
 *
 * Threat:  text of a server becomes script of the page, which holds a key or a token; a file beside
 *          the page is read.
 * Rule:    a fixed list of paths, so nothing of a request reaches the file system. Scripts and styles
 *          are the page's own files; no string becomes markup (Trusted Types); connections go to the
 *          named origins alone, so that what does get in cannot send a key elsewhere. No frames, no
 *          referrer (it could hold a code of OAuth).
 *          Not covered: `Host` is not checked. The files are public and hold no secret.
 * Refuses: 404, 405
 * Source:  CSP Level 3; Trusted Types; OWASP ASVS 5.0 3.4.3
 */
export async function startPageServer(options: PageOptions): Promise<PageServer> {
  const { server, clientId, port, connect } = options
  const config = JSON.stringify({ server, clientId } satisfies PageConfig)
  const headers = {
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self'",
      `connect-src 'self' ${connect.join(' ')}`,
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      "trusted-types 'none'",
    ].join('; '),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  }

  const files = new Map<string, { readonly type: string; readonly content: Buffer }>()
  for (const [path, file] of FILES) {
    files.set(path, { type: file.type, content: await readFile(file.path) })
  }

  const listener = createServer(({ method, url = '' }, response) => {
    const [path = ''] = url.split('?')
    const file = files.get(path)
    if (method !== 'GET') response.writeHead(405, { ...headers, allow: 'GET' }).end()
    else if (path === '/config.json') {
      response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end(config)
    } else if (file === undefined) response.writeHead(404, headers).end()
    else response.writeHead(200, { ...headers, 'content-type': file.type }).end(file.content)
  })
  listener.listen(port, '127.0.0.1')
  await once(listener, 'listening')
  return {
    url: `http://127.0.0.1:${portOf(listener)}/`,
    async [Symbol.asyncDispose]() {
      listener.close()
      listener.closeAllConnections()
    },
  }
}

interface PageFile {
  readonly path: string
  readonly type: string
}

const TYPES = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const FILES: ReadonlyMap<string, PageFile> = new Map([
  ['/', page('index', 'html')],
  // The redirect URI of OAuth: the page itself takes the answer.
  ['/callback', page('index', 'html')],
  ['/style.css', page('style', 'css')],
  ['/icon.svg', page('icon', 'svg')],
  ...[
    ...['call', 'confirm', 'connection', 'dom', 'entrance', 'explain'],
    ...['form', 'headers', 'list', 'main', 'mcp', 'oauth', 'tools'],
  ].map((name) => [`/${name}.js`, page(name, 'js')] as const),
  // Packages that are one or two plain modules, as they are.
  ['/vendor/oauth4webapi.js', packaged(import.meta.resolve('oauth4webapi'))],
  [
    '/vendor/eventsource-parser/stream.js',
    packaged(import.meta.resolve('eventsource-parser/stream')),
  ],
  ['/vendor/eventsource-parser/index.js', packaged(import.meta.resolve('eventsource-parser'))],
])

function page(name: string, type: keyof typeof TYPES): PageFile {
  return { path: `${import.meta.dirname}/page/${name}.${type}`, type: TYPES[type] }
}

function packaged(url: string): PageFile {
  return { path: fileURLToPath(url), type: TYPES.js }
}

function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  return address.port
}
