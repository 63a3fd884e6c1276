import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Config, loadConfig } from '../src/config.ts'

const runtime = { nodeVersion: 'v24.21.0', uid: 1000, execArgv: [] }

function load(env: Readonly<Record<string, string>>, mode = 'production'): Config {
  const MCP_SECRET = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  const MCP_PUBLIC_URL = 'https://mcp.example.com/mcp'
  return loadConfig({ NODE_ENV: mode, MCP_PUBLIC_URL, MCP_SECRET, ...env }, runtime)
}

describe('threat: the password of the store and what it keeps are read on the way, or by the log', () => {
  it.each([
    ['clear text to another machine', 'redis://redis.example.com:6379'],
    ['clear text to an address', 'redis://u:canary@192.0.2.1:6379'],
    ['clear text to a name that looks like this machine', 'redis://localhost.example.com'],
    ['clear text to a user called localhost', 'redis://localhost@canary.example.com'],
  ])('refuses %s in production, and lets it through in development', (_name, url) => {
    expect(() => load({ REDIS_URL: url })).toThrow(
      /^REDIS_URL: must be rediss:\/\/ in production, or Redis be on loopback$/,
    )
    expect(load({ REDIS_URL: url }, 'development').redisUrl).toBe(url)
  })

  it.each([
    ['TLS', 'rediss://user:p%40ss@redis.example.com:6380/2'],
    ['TLS without more', 'rediss://redis.example.com'],
    ['a password alone', 'rediss://:secret@redis.example.com/'],
    ['this machine by name', 'redis://localhost'],
    ['this machine by address', 'redis://127.0.0.1:6379'],
    ['this machine by IPv6 address', 'redis://[::1]:6379/15'],
  ])('lets %s through', (_name, url) => {
    expect(load({ REDIS_URL: url }).redisUrl).toBe(url)
  })

  it('says of a URL only whether there is one', () => {
    const digest = (host: string): string =>
      loadConfig({ NODE_ENV: 'development', REDIS_URL: `rediss://${host}` }, runtime).digest
    expect(digest('one.example.com')).toBe(digest('two.example.com'))
    expect(digest('one.example.com')).not.toBe(
      loadConfig({ NODE_ENV: 'development' }, runtime).digest,
    )
  })

  it('reads it from a file, and not from both', () => {
    const folder = mkdtempSync(join(tmpdir(), 'config-redis-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const REDIS_URL_FILE = join(folder, 'url')
    writeFileSync(REDIS_URL_FILE, 'rediss://u:p@redis.example.com\n')
    expect(load({ REDIS_URL_FILE }).redisUrl).toBe('rediss://u:p@redis.example.com')
    expect(() => load({ REDIS_URL_FILE, REDIS_URL: 'rediss://r.example.com' })).toThrow(
      /^REDIS_URL_FILE: is set beside REDIS_URL$/,
    )
  })
})

describe('threat: a mistake in the URL is overlooked, and another Redis is used', () => {
  it.each([
    ['nothing', ''],
    ['no URL', 'canary'],
    ['a host alone', 'canary.example.com:6379'],
    ['another scheme', 'https://canary.example.com'],
    ['the scheme of Unix sockets', 'unix:///canary.sock'],
    ['no host', 'rediss:///1'],
    ['a path', 'rediss://canary.example.com/1/2'],
    ['a name of a database', 'rediss://canary.example.com/canary'],
    ['a number below zero', 'rediss://canary.example.com/-1'],
    ['a query', 'rediss://canary.example.com/?db=1'],
    ['an empty query', 'rediss://canary.example.com?'],
    ['a fragment', 'rediss://canary.example.com/1#2'],
    ['a port that is none', 'rediss://canary.example.com:99999'],
    ['a password with a lone percent sign', 'rediss://u:canary%@canary.example.com'],
    ['a password that is not UTF-8', 'rediss://u:canary%ff@canary.example.com'],
    ['two of them', 'rediss://canary.example.com rediss://canary.example.com'],
    ['a line break', 'rediss://canary.exa\nmple.com'],
  ])('refuses %s', (_name, url) => {
    expect(() => load({ REDIS_URL: url })).toThrow(/^REDIS_URL: (?!.*canary)/)
  })
})
