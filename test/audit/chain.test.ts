import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { createChain } from '../../src/audit/chain.ts'
import { KEY, logOf, recordOf, verdictOf, WRITER } from './log.ts'

const parsed = (lines: readonly Buffer[]) => lines.map((line) => JSON.parse(line.toString()))

describe('contract: the chain', () => {
  it('numbers records from 1 without gap and ends each line with its mac', () => {
    const [first, second] = parsed(logOf({ records: 2 }))
    expect(first.metadata).toEqual({
      uid: `${WRITER}-1`,
      sequence: 1,
      version: '1.8.0',
      event_code: 'server.start',
    })
    expect(second.metadata.sequence).toBe(2)
    expect(first.unmapped.chain).toEqual({
      writer: WRITER,
      key: KEY.id,
      prev: '0'.repeat(64),
      mac: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(second.unmapped.chain.prev).toBe(first.unmapped.chain.mac)
    expect(logOf({ records: 1 })[0]?.toString()).toMatch(/"mac":"[0-9a-f]{64}"\}\}\}\n$/)
  })

  it('gives no number to a record that cannot be serialized', () => {
    const chain = createChain({ key: KEY, writer: WRITER })
    const unserializable = { ...recordOf('request'), big: 1n }
    expect(() => chain.append(unserializable)).toThrow(TypeError)
    expect(() => chain.checkpoint(() => unserializable)).toThrow(TypeError)
    const line = Buffer.from(`${chain.append(recordOf('request'))}\n`)
    expect(verdictOf([line])).toMatchObject({ damage: undefined, records: 1 })
  })

  it('names what stood in the file before it, in its first record alone', () => {
    const head = { writer: 'f'.repeat(16), sequence: 7, mac: 'e'.repeat(64) }
    const named = (tornBytes: number, isKnown = true) =>
      parsed(
        logOf({
          records: 2,
          predecessor: { head: isKnown ? head : undefined, tornBytes },
        }),
      ).map((record) => record.unmapped.predecessor)
    expect(named(0)).toEqual([head, undefined])
    expect(named(9)).toEqual([{ ...head, torn_bytes: 9 }, undefined])
    expect(named(9, false)).toEqual([{ torn_bytes: 9 }, undefined])
    expect(named(0, false)).toEqual([undefined, undefined])
  })

  it('counts and digests the lines since the last checkpoint, that one included', () => {
    const lines = logOf({ records: 5, every: 2 })
    const records = parsed(lines)
    const digestOf = (from: number, to: number) =>
      createHash('sha256')
        .update(Buffer.concat(lines.slice(from, to)))
        .digest('hex')
    expect(records.map(({ metadata }) => metadata.event_code)).toEqual([
      'server.start',
      'request',
      'audit.checkpoint',
      'request',
      'request',
      'audit.checkpoint',
      'request',
    ])
    const [first, second] = [records[2], records[5]].map(({ unmapped }) => unmapped.checkpoint)
    expect(first).toMatchObject({
      head: { writer: WRITER, sequence: 2, mac: records[1].unmapped.chain.mac },
      count: 2,
      digest: digestOf(0, 2),
    })
    expect(second).toMatchObject({ count: 3, digest: digestOf(2, 5) })
  })
})
