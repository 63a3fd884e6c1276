import { createHmac } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { type AuditTrailParts, createAuditTrail } from '../../src/audit/audit-trail.ts'
import { LANE_LINES, openSink, type Sink } from '../../src/audit/sink.ts'
import type { AuditEvent } from '../../src/audit/trail.ts'
import { Denied } from '../../src/errors.ts'
import { secretRing } from '../../src/secrets.ts'
import { testClock } from '../clock.ts'
import {
  headOf,
  KEY,
  linesOfBytes,
  SIGNER,
  verdictOf,
  WITH_MAC_KEY,
  WITH_PUBLIC_KEY,
} from './log.ts'
import { makePipe, openReader, temporaryFolder } from './pipe.ts'

const ring = secretRing([Buffer.alloc(32, 1), Buffer.alloc(32, 2)])
const facts = {
  requestId: 'r1',
  address: '192.0.2.7',
  principal: {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'console',
    subject: 'alice',
    scopes: [],
    roles: [],
    tenant: null,
  },
  credentialId: 'key-1',
  trace: undefined,
} as const
const request: AuditEvent = {
  ...facts,
  event: 'request',
  httpMethod: 'POST',
  path: '/mcp',
  method: undefined,
  status: 200,
  reason: undefined,
  durationMs: 1,
}
const decision: AuditEvent = {
  ...facts,
  event: 'decision',
  method: 'tools/call',
  name: 'echo',
  rpcId: 1,
  era: 'modern',
  argsHmac: 'a',
  argsBytes: 2,
  allowed: true,
  reason: undefined,
}
const start: AuditEvent = {
  event: 'server.start',
  settingsDigest: 's',
  policyDigest: 'p',
  toolsDigest: 't',
  nodeVersion: 'v24',
}

const POLICY: AuditTrailParts['policy'] = {
  principal: 'clear',
  onSinkFailure: 'refuse',
  checkpoint: { records: 1_000_000, seconds: 60 },
}

function trailOver(
  sink: Sink,
  policy: Partial<AuditTrailParts['policy']> = {},
  parts: Partial<AuditTrailParts> = {},
) {
  return createAuditTrail({
    ring,
    policy: { ...POLICY, ...policy },
    sink,
    product: { name: 'gatehouse', version: '1.2.3' },
    ...parts,
  })
}

/** A sink that keeps its lines and fails on demand. */
function memorySink() {
  const lines: string[] = []
  const state = { broken: false, room: true }
  const sink: Sink = {
    hasRoom: () => state.room,
    append(_lane, line) {
      lines.push(line)
      return Promise.resolve(!state.broken)
    },
    broken: () => state.broken,
    close: () => Promise.resolve(),
  }
  return { sink, state, lines, records: () => lines.map((line) => JSON.parse(line)) }
}

const codesOf = (records: readonly { metadata: { event_code: string } }[]) =>
  records.map(({ metadata }) => metadata.event_code)

describe('contract: the trail', () => {
  it('writes a chain that verifies, in the order of the calls', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    const trail = trailOver(openSink(path))
    await trail.commit(start)
    trail.write(request)
    await trail.commit(decision)
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(4)
    trail.write({ event: 'server.stop', cause: 'signal' })
    await trail.close()

    const lines = linesOfBytes(readFileSync(path))
    expect(verdictOf(lines)).toMatchObject({ damage: undefined, records: 5 })
    expect(codesOf(lines.map((line) => JSON.parse(line.toString())))).toEqual([
      'server.start',
      'request',
      'decision',
      'server.stop',
      'audit.checkpoint',
    ])
  })

  it('names the policies in force in later records', async () => {
    const { sink, records } = memorySink()
    const trail = trailOver(sink)
    await trail.commit(start)
    await trail.commit(decision)
    expect(records()[1].policy).toEqual({ uid: 'tools/echo', version: 'p' })
  })

  it('names the policies that were loaded last, also when no record of that had room', async () => {
    const { sink, state, records } = memorySink()
    const trail = trailOver(sink)
    const reload = (outcome: 'applied' | 'refused', policies: string): void => {
      const [from, to] = ['p', policies].map((digest) => ({ policies: digest, files: 'f' }))
      if (from) trail.write({ event: 'policy.reload', outcome, from, to })
    }
    await trail.commit(start)
    state.room = false
    reload('applied', 'q')
    reload('refused', 'r')
    state.room = true
    await trail.commit(decision)
    expect(records()[1]).toMatchObject({ policy: { version: 'q' }, unmapped: { dropped: 2 } })
  })

  it('knows what it has lost and not yet said', async () => {
    const { sink, state } = memorySink()
    const trail = trailOver(sink)
    state.room = false
    trail.write(request)
    expect([trail.unreported(), trail.dropped()]).toEqual([1, 1])
    state.room = true
    trail.write(request)
    expect([trail.unreported(), trail.dropped()]).toEqual([0, 1])
  })

  it('names a subject by its pseudonym when policy says so', () => {
    const { sink, records } = memorySink()
    const [key] = ring('principal')
    const pseudonym = createHmac('sha256', key.key).update('alice').digest('hex')
    trailOver(sink, { principal: 'pseudonymous' }).write(request)
    trailOver(sink).write(request)
    expect(records().map((record) => record.actor.user.uid)).toEqual([pseudonym, 'alice'])
    expect(JSON.stringify(records()[0])).not.toContain('alice')
  })

  it('digests a value whatever the order of its members, keyed', () => {
    const { sink } = memorySink()
    const trail = trailOver(sink)
    const [key] = ring('args')
    const canonical = '{"a":"ü","b":[1,null]}'
    expect(trail.digest({ b: [1, null], a: 'ü' })).toEqual({
      hmac: createHmac('sha256', key.key).update(canonical).digest('hex'),
      bytes: Buffer.byteLength(canonical),
    })
    expect(trail.digest({ a: 'ü', b: [1, null] })).toEqual(trail.digest({ b: [1, null], a: 'ü' }))
    expect(trail.digest({}).hmac).not.toBe(trail.digest([]).hmac)
  })

  it.each([
    ['a lone surrogate', { a: '\ud800' }],
    ['a lone surrogate in a name', { '\udc00': 1 }],
    ['a number that JSON does not have', { a: Number.NaN }],
    ['a bigint', { a: 1n }],
    ['nothing', undefined],
    ['a function', () => 1],
  ])('throws a plain error for %s', (_name, value) => {
    const { sink } = memorySink()
    const trail = trailOver(sink)
    expect(() => trail.digest(value)).toThrow(Error)
    expect(() => trail.digest(value)).not.toThrow(Denied)
    expect(trail.ready()).toBe(true)
  })
})

describe('threat: a broken sink, a caller acts without leaving a record', () => {
  it.each([
    ['refuse', 'audit.sink-broken', false],
    ['continue', undefined, true],
  ] as const)('with %s, a decision on a full disk', async (onSinkFailure, reason, ready) => {
    const trail = trailOver(openSink('/dev/full'), { onSinkFailure })
    for (const _attempt of ['first', 'while broken']) {
      const outcome = await trail.commit(decision).catch((error: unknown) => error)
      if (reason === undefined) expect(outcome).toBe(undefined)
      else expect(outcome).toMatchObject({ reason, headers: { 'retry-after': '5' } })
    }
    expect(trail.ready()).toBe(ready)
  })

  it('takes decisions again when the sink works again', async () => {
    const { sink, state } = memorySink()
    const trail = trailOver(sink)
    state.broken = true
    await expect(trail.commit(decision)).rejects.toThrow(Denied)
    state.broken = false
    await expect(trail.commit(decision)).resolves.toBe(undefined)
    expect(trail.ready()).toBe(true)
  })

  it('says what came of a decision that is written after it was refused, and of no other', async () => {
    const { sink, state, records } = memorySink()
    const trail = trailOver({ ...sink, broken: () => false })
    const end = { ...decision, event: 'outcome', outcome: 'not-run', durationMs: 0 } as const
    const otherwise: AuditEvent = { ...end, resultSha256: undefined, progressCount: 0 }
    await trail.commit(decision, otherwise)
    expect(codesOf(records())).toEqual(['decision'])
    state.room = false
    await expect(trail.commit(decision, otherwise)).rejects.toThrow(Denied)
    expect(records()).toHaveLength(1)
    state.room = true
    state.broken = true
    await expect(trail.commit(decision, otherwise)).rejects.toThrow(Denied)
    expect(codesOf(records())).toEqual(['decision', 'decision', 'outcome'])
  })

  it('refuses a decision that its queue has no room for', async () => {
    const { sink, state } = memorySink()
    state.room = false
    await expect(trailOver(sink).commit(decision)).rejects.toThrow('audit.sink-broken')
    await expect(trailOver(sink, { onSinkFailure: 'continue' }).commit(decision)).resolves.toBe(
      undefined,
    )
  })

  it('takes a record that cannot be built for a bug, not for a broken sink', async () => {
    const { sink, records } = memorySink()
    const trail = trailOver(sink)
    const unbuildable = JSON.parse('{"event":"decision","reason":1}')
    const error = await trail.commit(unbuildable).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TypeError)
    expect(error).not.toBeInstanceOf(Denied)
    expect(() => trail.write(unbuildable)).not.toThrow()
    expect(trail.dropped()).toBe(1)
    expect(trail.ready()).toBe(true)
    await trail.commit(decision)
    expect(records().map((record) => record.metadata.sequence)).toEqual([1])
  })
})

describe('threat: a flood of requests, the trail loses decisions or hides that it lost records', () => {
  it('loses requests only, says how many, and leaves no gap', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'pipe')
    makePipe(path)
    const reader = openReader(path)
    const sink = openSink(path)
    const trail = trailOver(sink)

    for (let count = 0; count < LANE_LINES + 100; count += 1) trail.write(request)
    const committed = trail.commit(decision)
    trail.write(decision)
    expect(trail.dropped()).toBe(100)

    let text = ''
    await vi.waitFor(
      () => {
        text += reader.read()
        expect(text.split('\n').length - 1).toBe(LANE_LINES + 2)
      },
      { timeout: 10_000, interval: 1 },
    )
    await committed
    await trail.close()
    reader.close()

    const lines = linesOfBytes(Buffer.from(text))
    const verdict = verdictOf(lines)
    expect(verdict).toMatchObject({ damage: undefined, writers: [{ dropped: 100 }] })
    const records = lines.map((line) => JSON.parse(line.toString()))
    expect(records.at(-2)).toMatchObject({
      metadata: { event_code: 'decision', sequence: LANE_LINES + 1 },
      unmapped: { dropped: 100 },
    })
    expect(records.filter((record) => 'dropped' in record.unmapped)).toHaveLength(1)
  })
})

describe('contract: checkpoints', () => {
  const every = (records: number) => ({ checkpoint: { records, seconds: 60 } })

  it('follow after so many records', async () => {
    const { sink, records } = memorySink()
    const trail = trailOver(sink, every(2))
    for (let count = 0; count < 5; count += 1) trail.write(request)
    expect(codesOf(records())).toEqual([
      ...['request', 'request', 'audit.checkpoint'],
      ...['request', 'request', 'audit.checkpoint'],
      'request',
    ])
  })

  it('follow after so many seconds, and only when something was written', () => {
    const { sink, records } = memorySink()
    const clock = testClock()
    const trail = trailOver(sink, {}, { clock })
    expect(clock.pending()).toBe(0)
    trail.write(request)
    clock.advance(59_999)
    trail.write(request)
    expect(records()).toHaveLength(2)
    clock.advance(1)
    expect(codesOf(records())).toEqual(['request', 'request', 'audit.checkpoint'])
    expect(records()[2].unmapped.checkpoint).toMatchObject({ count: 2 })
    clock.advance(1_000_000)
    expect([records().length, clock.pending()]).toEqual([3, 0])
    trail.write(request)
    clock.advance(60_000)
    expect(records()).toHaveLength(5)
  })

  it('count their seconds from the last one', () => {
    const { sink, records } = memorySink()
    const clock = testClock()
    const trail = trailOver(sink, every(2), { clock })
    trail.write(request)
    clock.advance(59_999)
    trail.write(request)
    trail.write(request)
    clock.advance(59_999)
    expect(records()).toHaveLength(4)
    clock.advance(1)
    expect(codesOf(records()).at(-1)).toBe('audit.checkpoint')
  })

  it('end a chain, once', async () => {
    const { sink, records } = memorySink()
    const clock = testClock()
    const trail = trailOver(sink, {}, { clock })
    trail.write({ event: 'server.stop', cause: 'signal' })
    await trail.close()
    await trail.close()
    expect(codesOf(records())).toEqual(['server.stop', 'audit.checkpoint'])
    expect(clock.pending()).toBe(0)
    const unused = memorySink()
    await trailOver(unused.sink).close()
    expect(unused.records()).toEqual([])
  })

  it('are verified with the public key, or are unsigned without one', async () => {
    for (const signer of [SIGNER, undefined]) {
      const { sink, lines } = memorySink()
      const trail = trailOver(sink, every(2), { signer })
      for (let count = 0; count < 5; count += 1) trail.write(request)
      await trail.close()
      const raws = lines.map((line) => Buffer.from(`${line}\n`))
      expect(verdictOf(raws, WITH_MAC_KEY)).toMatchObject({ damage: undefined, records: 8 })
      expect(verdictOf(raws, WITH_PUBLIC_KEY).damage?.kind).toBe(signer ? undefined : 'not signed')
    }
  })

  it('wait until their queue has room', () => {
    const { sink, state, records } = memorySink()
    const trail = trailOver(sink, every(2))
    trail.write(request)
    sink.hasRoom = (lane) => lane === 'bulk'
    trail.write(request)
    trail.write(request)
    expect(codesOf(records())).toEqual(['request', 'request', 'request'])
    sink.hasRoom = () => state.room
    trail.write(request)
    expect(codesOf(records()).at(-1)).toBe('audit.checkpoint')
    expect(records().at(-1).unmapped.checkpoint.count).toBe(4)
  })
})

describe('threat: a restart, what came before it is cut off and nobody can tell', () => {
  it('names the end of the chain before it, and half a line', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'audit.jsonl')
    for (const torn of ['', '{"metadata":{"uid":"']) {
      const trail = trailOver(openSink(path))
      trail.write(request)
      await trail.close()
      appendFileSync(path, torn)
    }
    const trail = trailOver(openSink(path))
    await trail.commit(start)
    await trail.close()
    const lines = linesOfBytes(readFileSync(path))
    const first = lines.map((line) => (line.length < 99 ? {} : JSON.parse(line.toString())))
    const named = first.map((record) => record.unmapped?.predecessor)
    expect(named).toEqual([
      ...[undefined, undefined],
      ...[{ ...headOf(lines.slice(0, 2)) }, undefined],
      undefined,
      ...[{ ...headOf(lines.slice(0, 4)), torn_bytes: 20 }, undefined],
    ])
    const verdict = verdictOf(lines)
    expect([verdict.damage, verdict.torn]).toEqual([undefined, [{ file: 'log', line: 5 }]])
    expect(verdictOf(lines.toSpliced(3, 1)).damage?.kind).toBe('truncated')
  })

  it('signs with the newest secret of the ring, and the older one verifies what came before', () => {
    const { sink, records } = memorySink()
    trailOver(sink).write(request)
    expect(records()[0].unmapped.chain.key).toBe(KEY.id)
  })
})
