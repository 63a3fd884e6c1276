import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { loadPolicies } from '../src/policy.ts'
import { accessPolicy } from '../src/policy-schemas.ts'
import { textOf } from './source-tree.ts'

/** Where each limit is held below, at and above its value: a file, and titles of tests in it. */
const TESTS: Readonly<Record<string, readonly [file: string, ...titles: readonly string[]]>> = {
  'body.bytes': ['limits', 'body.bytes, %s, declared and in chunks'],
  'body.depth': ['limits', 'body.depth, %s'],
  'result.bytes': ['limits', 'result.bytes, %s'],
  'headers.count': ['limits', 'headers.count, %s'],
  'headers.bytes': ['limits', 'headers.bytes, %s'],
  'timeouts.headersMs': [
    'listen-limits',
    'serves a client that is slow with %s, but in time',
    'answers %s with 408 and closes',
    'is not kept open by headers that trickle in',
  ],
  'timeouts.requestMs': [
    'listen-limits',
    'serves a client that is slow with %s, but in time',
    'answers %s with 408 and closes',
  ],
  'timeouts.keepAliveMs': [
    'listen-limits',
    'serves the next request of a connection that was idle for a short time',
    'closes a connection that stays idle after its answer',
  ],
  'timeouts.slowReaderMs': [
    'listen-limits',
    'lets a reader that takes it have all of the answer',
    'cuts a reader that stalls, and records its request',
    'keeps a connection on which nothing is said while a call runs',
  ],
  'timeouts.streamSeconds': [
    'mcp/ending-stream',
    'goes on after a garbage collection while nothing ends it',
    'ends at its age after a garbage collection',
  ],
  connections: ['listen-limits', 'counts connections of trusted proxies only in total'],
  streams: [
    'mcp/streams',
    'counts them by principal and in total, and frees them when clients leave',
  ],
  'address.connections': [
    'listen-limits',
    'takes no more connections of an address than policy says, until one is free',
    'address.connections has room again for each that was %s',
  ],
  'address.requestsPerMinute': [
    'limits',
    '%s: three, and no fourth',
    'address.requestsPerMinute counts a /64',
  ],
  'address.authFailuresPerMinute': ['limits', '%s: three, and no fourth'],
  'principal.requestsPerMinute': ['limits', '%s: three, and no fourth'],
  'principal.concurrentCalls': ['limits', '%s: one, two, and no third', 'after a call that %s'],
  'principal.openStreams': ['mcp/streams', 'principal.openStreams: three again when streams %s'],
  'a tool: timeoutSeconds': [
    'mcp/calls',
    'ends work that ignores its signal at the deadline, and not before',
  ],
  'a tool: concurrentCallsPerPrincipal': ['limits', '%s: one, two, and no third'],
  'a tool: callsPerMinutePerPrincipal': ['limits', '%s: three, and no fourth'],
}
/** Limits of optional features are held where those are. */
const ELSEWHERE = /^(?:tasks\.|onStoreFailure$)/

function leaves(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [path]
  const join = (name: string): string => (path === '' ? name : `${path}.${name}`)
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, join(name)))
}

describe('contract: every limit of the policies has its tests', () => {
  it('is a row of this table', () => {
    const { limits } = loadPolicies('policies', 'development')
    const named = leaves(limits, '').filter((name) => !ELSEWHERE.test(name))
    const entry = {
      scopes: [],
      why: 'a part of the test',
      concurrentCallsPerPrincipal: 1,
      callsPerMinutePerPrincipal: 1,
    }
    const parsed = accessPolicy.parse({ tools: { a: entry }, resources: {}, prompts: {} }).tools[
      'a'
    ]
    const ofTools = Object.entries(parsed ?? {})
      .filter(([, value]) => typeof value === 'number')
      .map(([name]) => `a tool: ${name}`)
    expect(Object.keys(TESTS).toSorted()).toEqual([...named, ...ofTools].toSorted())
  })

  it.each(Object.entries(TESTS))('%s', (_name, [file, ...titles]) => {
    const text = textOf(`test/${file}.test.ts`)
    for (const title of titles) expect(text).toContain(`'${title}'`)
  })
})

const schema = z.looseObject({
  type: z.string().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
})

/** Least and most of each integer in a schema, in order. */
function rangesIn(node: unknown): readonly (readonly [number, number])[] {
  if (typeof node !== 'object' || node === null) return []
  const { data } = schema.safeParse(node)
  if (data?.type === 'integer') return [[data.minimum ?? -Infinity, data.maximum ?? Infinity]]
  return Object.values(node).flatMap(rangesIn)
}

const schemaOf = (name: string): unknown =>
  JSON.parse(textOf(`policies/schemas/${name}.schema.json`))

describe('contract: a number has a least and a most, and whoever sets it can read them', () => {
  it.each([
    ['access', 9],
    ['audit', 2],
    ['auth', 5],
    ['http', 5],
    ['limits', 19],
  ])('in the schema of %s.yaml', (name, atLeast) => {
    const ranges = rangesIn(schemaOf(name))
    expect(ranges.length).toBeGreaterThanOrEqual(atLeast)
    const open = ranges.filter(([min, max]) => min < 0 || max >= Number.MAX_SAFE_INTEGER)
    expect(open).toEqual([])
  })

  it.each(['audit', 'limits'])('in the comments of %s.yaml', (name) => {
    const comments = [...textOf(`policies/${name}.yaml`).matchAll(/(?<=#.*)(\d+) to (\d+)/g)]
    const written = comments.map(([, min, max]) => [Number(min), Number(max)])
    expect(written).toEqual(rangesIn(schemaOf(name)))
  })
})
