import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { inWords } from '../src/problems.ts'
import { spawnServer, stopServers } from './server.ts'

afterAll(stopServers)

const schema = z
  .strictObject({
    text: z.string().max(5),
    flag: z.boolean(),
    count: z.int().min(2).max(3),
    list: z.array(z.string()).min(1),
    map: z.record(z.string(), z.string()),
    inner: z.strictObject({}),
    mode: z.enum(['on', 'off']),
    own: z.string().regex(/^x$/, 'must be x'),
  })
  .partial()

describe('contract: a problem says what is expected, in plain words, and never what was there', () => {
  it.each<[string, unknown, string]>([
    ['something else than text', { text: 12_345 }, 'must be text'],
    ['a text that is too long', { text: 'canary' }, 'must be at most 5 characters'],
    ['something else than a switch', { flag: 'canary' }, 'must be true or false'],
    ['a fraction', { count: 2.5 }, 'must be a whole number'],
    ['a number that is too large', { count: 4 }, 'must be at most 3'],
    ['a number that is too small', { count: 1 }, 'must be at least 2'],
    ['something else than a list', { list: 'canary' }, 'must be a list'],
    ['an empty list', { list: [] }, 'must not be empty'],
    ['something else than a map', { map: ['canary'] }, 'must be a map'],
    ['a list for a map with fixed names', { inner: ['canary'] }, 'must be a map'],
    ['null', { inner: null }, 'must be a map'],
    ['an unknown name', { canary: 1 }, 'has a field that is not known'],
    ['a value that is not a choice', { mode: 'canary' }, 'must be on or off'],
    ['a message of the schema', { own: 'canary' }, 'must be x'],
  ])('%s', (_name, value, message) => {
    const found = schema.safeParse(value, { error: inWords }).error?.issues
    expect(found?.map((issue) => issue.message)).toEqual([message])
  })

  it('something that is missing', () => {
    const found = schema.required({ mode: true }).safeParse({}, { error: inWords }).error?.issues
    expect(found?.map(({ path, message }) => [path, message])).toEqual([[['mode'], 'is missing']])
  })

  it('lets what is right through', () => {
    const right = { text: 'five!', count: 2, list: [''], map: {}, inner: {}, mode: 'on', own: 'x' }
    expect(schema.safeParse(right, { error: inWords }).success).toBe(true)
  })
})

describe('contract: the process says which setting to change, and ends', () => {
  const PEM = { MCP_TLS_CERT_FILE: 'package.json', MCP_TLS_KEY_FILE: 'package.json' }

  it.each<[string, Record<string, string>, RegExp]>([
    ['files that are no certificate', PEM, /^ {2}MCP_TLS_CERT_FILE: must be a certificate/m],
    ['a folder that is not there', { MCP_POLICY_DIR: 'canary' }, /^ {2}MCP_POLICY_DIR: does not/m],
    ['a misspelt setting', { MCP_CANARY: 'canary' }, /^ {2}MCP_CANARY: is not a setting/m],
  ])('%s', async (_name, env, line) => {
    const server = spawnServer({ env })
    expect(await server.exited).toBe(78)
    expect(server.stderr()).toMatch(/^Gatehouse cannot start:\n/)
    expect(server.stderr()).toMatch(line)
    expect(server.stderr()).not.toContain('canary')
  })
})
