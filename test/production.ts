import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { generateKey } from '../src/auth/api-key.ts'
import type { KeyRecord } from '../src/auth/key-file.ts'
import { daysFromNow } from './key-file.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

export interface Production {
  /** Settings of a server behind a TLS proxy on this machine. */
  readonly env: Readonly<Record<string, string>>
  /** The key of its one caller. */
  readonly key: string
  readonly keysFile: string
  /** A folder that the server owns. */
  readonly folder: string
  /** Options of a process with no more rights than it needs. */
  readonly unprivileged: { readonly uid?: number }
  /** Gives a file to the user that the server runs as. */
  give(file: string): void
}

const folders = new Set<string>()
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** What a production server is started with. Its files are gone after the last test of the file. */
export function production(
  root = randomBytes(32),
  scopes: readonly string[] = ['mcp:use'],
): Production {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-production-'))
  folders.add(folder)
  const keysFile = join(folder, 'keys.json')
  const give = (file: string): void => {
    if (isRoot) chownSync(file, NOBODY, NOBODY)
  }
  const { key, id, sha256 } = generateKey()
  const record: KeyRecord = {
    id,
    name: 'ci',
    sha256,
    subject: 'ci',
    tenant: null,
    roles: [],
    scopes: [...scopes],
    createdAt: daysFromNow(-1),
    expiresAt: daysFromNow(90),
    allowedCidrs: [],
    revokedAt: null,
  }
  writeFileSync(keysFile, JSON.stringify({ keys: [record] }, null, 2))
  chmodSync(folder, 0o755)
  give(folder)
  give(keysFile)
  return {
    env: {
      NODE_ENV: 'production',
      MCP_SECRET: root.toString('base64'),
      MCP_PUBLIC_URL: 'https://mcp.example.com/mcp',
      MCP_API_KEYS_FILE: keysFile,
      MCP_BEHIND_TLS_PROXY: 'true',
      MCP_TRUSTED_PROXIES: '127.0.0.0/8',
    },
    key,
    keysFile,
    folder,
    unprivileged: isRoot ? { uid: NOBODY } : {},
    give,
  }
}
