import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createChain } from '../../src/audit/chain.ts'
import { readLine } from '../../src/audit/chain-line.ts'
import { KEY, logOf, recordOf, WRITER } from './log.ts'

const lines = logOf({ records: 3, every: 2 }).map((raw) => raw.subarray(0, -1))
const text = lines[1]?.toString('latin1') ?? ''

/** What a JSON parser reads. */
function byParser(line: Buffer): object | undefined {
  try {
    const { metadata, unmapped } = JSON.parse(line.toString())
    const { writer, key, prev, mac } = unmapped.chain
    return { writer, sequence: metadata.sequence, mac, event: metadata.event_code, key, prev }
  } catch {
    return undefined
  }
}

function bySight(line: Buffer): object | undefined {
  const record = readLine(line)
  if (record === undefined) return undefined
  const { unmapped, ...rest } = record
  return { ...rest }
}

describe('contract: a line is read from its two ends', () => {
  it.each(lines.map((line, index) => [index, line] as const))('line %i', (_index, line) => {
    expect(bySight(line)).toEqual(byParser(line))
    expect(bySight(line)).toBeDefined()
  })

  it('reads the members beside the chain', () => {
    expect(readLine(lines[1] ?? KEY.key)?.unmapped).toEqual(new Map([['mcp', { index: 1 }]]))
  })

  it('reads a line whose text needs escapes, or spells the names of members', () => {
    const chain = createChain({ key: KEY, writer: WRITER })
    const { metadata, unmapped } = recordOf('request')
    const odd = { metadata, text: '\u0001"chain": \ud800', sub: { sequence: 9 }, unmapped }
    const line = Buffer.from(chain.append(odd))
    expect(bySight(line)).toEqual(byParser(line))
    expect(bySight(line)).toBeDefined()
  })
})

describe('threat: a line that two readers read differently, the verified record is not the shown one', () => {
  const edit = (from: string, to: string): Buffer => Buffer.from(text.replace(from, to), 'latin1')

  it.each([
    ['a second mac before', edit('"mcp"', '"chain":{"mac":"1"},"mcp"')],
    ['a second chain in another spelling', edit('"mcp"', '"ch\\u0061in":{},"mcp"')],
    ['a second unmapped', edit('"text"', '"unmapped":{},"text"')],
    ['a second metadata', edit('"text"', '"metadata":{"sequence":9},"text"')],
    ['a second metadata in another spelling', edit('"text"', '"m\\u0065tadata":{},"text"')],
    ['a second number', edit('"event_code"', '"sequence":9,"event_code"')],
    ['a second event', edit('},"time"', ',"event_code":"x"},"time"')],
    ['a chain that is not of unmapped', edit('"chain"', '"a":1},"b":{"chain"')],
    ['a chain right behind unmapped', edit('"mcp":{"index":1},', '},"b":{')],
    ['no comma before the chain', edit(',"chain"', ' "chain"')],
    ['spaces at the start', Buffer.from(` ${text}`, 'latin1')],
    ['a space at the end', Buffer.from(`${text} `, 'latin1')],
    ['a carriage return at the end', Buffer.from(`${text}\r`, 'latin1')],
    ['a space in the chain', edit('"mac":', '"mac": ')],
    ['upper case in a mac', edit('"mac":"', '"mac":"A')],
    ['a number with a fraction', edit('"sequence":2', '"sequence":2.0')],
    ['a number with a zero', edit('"sequence":2', '"sequence":02')],
    ['another number in the uid', edit(`${WRITER}-2`, `${WRITER}-3`)],
    ['another writer in the uid', edit(`"uid":"${WRITER}`, `"uid":"${'0'.repeat(16)}`)],
    ['an order that is not ours', edit('"version":"1.8.0",', '')],
    ['a byte order mark', Buffer.concat([Buffer.of(0xef, 0xbb, 0xbf), lines[1] ?? KEY.key])],
    ['nothing', Buffer.alloc(0)],
    ['the end alone', Buffer.from(text.slice(-300), 'latin1')],
  ])('refuses %s', (_name, line) => {
    expect(readLine(line)).toBe(undefined)
  })

  it('reads what a JSON parser reads, or nothing, whatever a holder of the key writes', () => {
    const pieces = [
      ...[
        '"metadata":',
        '"sequence":9,',
        '"event_code":"x",',
        '"unmapped":{',
        '"chain":{',
        '}',
        '{',
      ],
      ...['},"a":{', '"a":1,', '\\u0061', '"', ',', ' ', '\\', '"mcp":{},', '},', '"unmapped":{},'],
      ...['"chain":{},', '"metadata":{},', '"\\u0063hain":{},', '"dropped":1,'],
    ]
    const splice = fc.record({
      at: fc.nat({ max: text.length }),
      gone: fc.oneof(fc.constant(0), fc.nat({ max: 40 })),
      piece: fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 4 })),
    })
    let accepted = 0
    fc.assert(
      fc.property(fc.array(splice, { minLength: 1, maxLength: 3 }), (splices) => {
        const crafted = splices.reduce(
          (current, { at, gone, piece }) => current.slice(0, at) + piece + current.slice(at + gone),
          text,
        )
        const line = Buffer.from(crafted)
        const read = bySight(line)
        const parsed = byParser(line)
        if (read === undefined || parsed === undefined) return
        accepted += 1
        expect(read).toEqual(parsed)
      }),
      { numRuns: 5000 },
    )
    expect(accepted).toBeGreaterThan(0)
  })
})
