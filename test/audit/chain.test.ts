import { describe, expect, it } from 'vitest'
import { type AuditRecord, createChain, verifyLines } from '../../src/audit/chain.ts'
import { secretRing } from '../../src/secrets.ts'

const [key] = secretRing([Buffer.alloc(32, 1)])('audit-mac')
const [otherKey] = secretRing([Buffer.alloc(32, 2)])('audit-mac')

function recordOf(value: number): AuditRecord {
  return { metadata: { event_code: 'request' }, value, unmapped: { text: `\ufffd "mac" ${value}` } }
}

function linesOf(count: number, writer = 'one', signer = key): readonly Buffer[] {
  const chain = createChain({ key: signer, writer })
  return Array.from({ length: count }, (_, index) => Buffer.from(chain(recordOf(index))))
}

function verdictOn(lines: readonly (Buffer | undefined)[]): string {
  const present = lines.filter((line) => line !== undefined)
  const verdict = verifyLines(present, [key])
  return verdict.ok ? 'ok' : verdict.problem
}

/** Deterministic, so that a failure can be repeated (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

function swapped(lines: readonly Buffer[], a: number, b: number): (Buffer | undefined)[] {
  const copy: (Buffer | undefined)[] = [...lines]
  copy[a] = lines[b]
  copy[b] = lines[a]
  return copy
}

describe('threat: an edited log, someone with access to the log store hides what happened', () => {
  const lines = linesOf(8)

  it('finds a change of any single byte', () => {
    const pick = random(1)
    const line = lines[2] ?? Buffer.alloc(0)
    for (let at = 0; at < line.length; at += 1) {
      const edited = Buffer.from(line)
      edited.writeUInt8(edited.readUInt8(at) ^ (1 + pick(255)), at)
      const log = [...lines.slice(0, 2), edited, ...lines.slice(3)]
      expect(verifyLines(log, [key])).toMatchObject({ ok: false, line: 3 })
    }
  })

  it('finds random edits, deletions, swaps, insertions and repetitions', () => {
    const pick = random(2)
    const foreign = linesOf(8, 'one', otherKey)
    for (let round = 0; round < 1000; round += 1) {
      const at = pick(7)
      const line = lines[at] ?? Buffer.alloc(0)
      const edited = Buffer.from(line)
      const position = pick(edited.length)
      edited.writeUInt8(edited.readUInt8(position) ^ (1 + pick(255)), position)
      const mutations = [
        lines.with(at, edited),
        lines.toSpliced(at, 1),
        swapped(lines, at, at + 1),
        lines.toSpliced(at, 0, line),
        lines.toSpliced(pick(8), 0, foreign[at] ?? line),
        lines.toSpliced(pick(8), 0, edited.subarray(0, position)),
      ]
      expect(verdictOn(mutations[round % mutations.length] ?? lines)).not.toBe('ok')
    }
  })

  it('tells a missing line by its number', () => {
    expect(verdictOn(lines.slice(1))).toBe('out of sequence')
    expect(verdictOn(lines.toSpliced(3, 1))).toBe('out of sequence')
  })

  it('finds an invalid byte in place of a character that decodes alike', () => {
    const line = lines[1] ?? Buffer.alloc(0)
    const at = line.indexOf('\ufffd')
    const edited = Buffer.concat([line.subarray(0, at), Buffer.of(0xff), line.subarray(at + 3)])
    expect(edited.toString()).toBe(line.toString())
    expect(verdictOn([...lines.slice(0, 1), edited, ...lines.slice(2)])).toBe('mac does not match')
  })

  it.each([
    ['an empty line', Buffer.alloc(0)],
    ['text', Buffer.from('constructor')],
    ['null', Buffer.from('null')],
    ['a record without chain', Buffer.from('{"metadata":{},"unmapped":{}}')],
    ['the end of a line alone', Buffer.from(`,"mac":"${'0'.repeat(64)}"}}}`)],
    ['a line with a byte after it', Buffer.concat([lines[0] ?? Buffer.alloc(0), Buffer.from(' ')])],
    ['a half line', lines[0]?.subarray(0, 200)],
  ])('refuses %s', (_name, line) => {
    expect(verdictOn([line])).toBe('not a chained record')
  })

  it('refuses a chain of a key that is not ours', () => {
    expect(verdictOn(linesOf(1, 'one', otherKey))).toBe('unknown key')
    expect(verdictOn(linesOf(1, 'one', { id: key.id, key: otherKey.key }))).toBe(
      'mac does not match',
    )
  })

  it('refuses a second chain that continues the numbers of the first', () => {
    expect(verdictOn([...linesOf(2), ...linesOf(3).slice(2)])).toBe('ok')
    const chain = createChain({ key, writer: 'one' })
    const other = [0, 7, 2].map((value) => Buffer.from(chain(recordOf(value))))
    expect(verdictOn([...linesOf(2), ...other.slice(2)])).toBe('previous mac does not match')
  })
})

describe('contract: the chain', () => {
  it('numbers records from 1 without gap and ends each line with its mac', () => {
    const [first, second] = linesOf(2).map((line) => JSON.parse(line.toString()))
    expect(first.metadata).toEqual({ event_code: 'request', uid: 'one-1', sequence: 1 })
    expect(second.metadata.sequence).toBe(2)
    expect(first.unmapped.chain).toMatchObject({
      writer: 'one',
      key: key.id,
      prev: '0'.repeat(64),
      mac: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(second.unmapped.chain.prev).toBe(first.unmapped.chain.mac)
  })

  it('gives no number to a record that cannot be serialized', () => {
    const chain = createChain({ key, writer: 'one' })
    expect(() => chain({ metadata: {}, big: 1n, unmapped: {} })).toThrow(TypeError)
    expect(verdictOn([Buffer.from(chain(recordOf(1)))])).toBe('ok')
  })

  it('verifies mixed writers, several keys, and nothing at all', () => {
    const one = linesOf(2, 'one')
    const two = linesOf(2, 'two', otherKey)
    const mixed = [0, 1].flatMap((index) => [one[index] ?? key.key, two[index] ?? key.key])
    const verdict = verifyLines(mixed, [key, otherKey])
    expect(verdict).toMatchObject({ ok: true, records: 4 })
    expect(verdict.ok && [...verdict.ends].map(([writer, end]) => [writer, end.sequence])).toEqual([
      ['one', 2],
      ['two', 2],
    ])
    expect(verifyLines([], [])).toMatchObject({ ok: true, records: 0 })
  })

  it('takes the last lines of a writer as its end: a cut shows only against another source', () => {
    expect(verdictOn(linesOf(3).slice(0, 2))).toBe('ok')
  })
})
