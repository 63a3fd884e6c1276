import { createPublicKey, createSecretKey } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Coverage } from '../../src/audit/chain.ts'
import { checkpointSigner, publicKeyId } from '../../src/audit/checkpoint.ts'
import type { DamageKind } from '../../src/audit/damage.ts'
import type { VerifierOptions } from '../../src/audit/verifier.ts'
import {
  headOf,
  KEY,
  linesOfBytes,
  logOf,
  OTHER_KEY,
  OTHER_PRIVATE_KEY,
  verdictOf,
  WITH_MAC_KEY,
  WITH_PUBLIC_KEY,
  WRITER,
} from './log.ts'

const OTHER = 'f'.repeat(16)
const BOTH = { ...WITH_MAC_KEY, ...WITH_PUBLIC_KEY }
/** 12 records, of which 6 and 12 are checkpoints. */
const log = logOf({ records: 10, every: 5 })
const line = (index: number): Buffer => log[index] ?? Buffer.alloc(0)

function edited(raw: Buffer, from: string, to: string): Buffer {
  const text = raw.toString('latin1')
  expect(text).toContain(from)
  return Buffer.from(text.replace(from, to), 'latin1')
}

function found(
  lines: readonly Buffer[],
  options: Partial<VerifierOptions> = WITH_MAC_KEY,
): readonly [DamageKind, number | undefined, number | undefined] | 'nothing' {
  const { damage } = verdictOf(lines, options)
  return damage === undefined ? 'nothing' : [damage.kind, damage.place?.line, damage.sequence]
}

describe('contract: a log that is complete and unchanged', () => {
  it.each([
    ['the MAC key', WITH_MAC_KEY],
    ['the public key', WITH_PUBLIC_KEY],
    ['both', BOTH],
  ])('passes with %s', (_name, keys) => {
    const lines = logOf({ records: 25, stops: true })
    const verdict = verdictOf(lines, keys)
    expect(verdict).toMatchObject({ damage: undefined, records: lines.length, torn: [] })
    expect(verdict.writers).toMatchObject([
      { writer: WRITER, sequence: lines.length, stopped: true, dropped: 0 },
    ])
  })

  it('passes with writers mixed, and keys and signers rotated', () => {
    const signer = checkpointSigner(OTHER_PRIVATE_KEY)
    const other = logOf({ records: 10, every: 5, writer: OTHER, key: OTHER_KEY, signer })
    const mixed = log.flatMap((raw, index) => [raw, other[index] ?? raw])
    const publicKey = createPublicKey(OTHER_PRIVATE_KEY)
    const keys = {
      macKeys: new Map([...WITH_MAC_KEY.macKeys, [OTHER_KEY.id, createSecretKey(OTHER_KEY.key)]]),
      publicKeys: new Map([
        ...WITH_PUBLIC_KEY.publicKeys,
        [publicKeyId(publicKey), publicKey] as const,
      ]),
    }
    const { damage, writers } = verdictOf(mixed, keys)
    expect(damage).toBe(undefined)
    expect(writers.map(({ writer, signed }) => [writer, signed])).toEqual([
      [WRITER, { from: 1, to: 12 }],
      [OTHER, { from: 1, to: 12 }],
    ])
    expect(found(mixed, WITH_MAC_KEY)).toEqual(['unknown key', 2, 1])
    expect(found(mixed, WITH_PUBLIC_KEY)).toEqual(['unknown signer', 12, 6])
  })

  it('passes without a line feed at its end, and when nothing is in it', () => {
    expect(found([...log.slice(0, -1), line(11).subarray(0, -1)], BOTH)).toBe('nothing')
    expect(found(log.with(3, line(3).subarray(0, -1)), BOTH)).toBe('nothing')
    expect(found([])).toBe('nothing')
  })

  it('says how far signatures reach', () => {
    const { damage, writers } = verdictOf(log.slice(0, 9), WITH_PUBLIC_KEY)
    expect([damage, writers[0]?.signed]).toEqual([undefined, { from: 1, to: 6 }])
  })
})

describe('threat: an edited log, someone with access to the log store hides what happened', () => {
  const forged = logOf({ records: 10, every: 5, key: { id: KEY.id, key: OTHER_KEY.key } })
  const foreign = logOf({ records: 10, every: 5, writer: OTHER, key: OTHER_KEY })
  const at = (index: number): Buffer => forged[index] ?? Buffer.alloc(0)

  it.each<[string, readonly Buffer[], DamageKind, number, number | undefined]>([
    ['a changed member', log.with(3, edited(line(3), 'request', 'reQuest')), 'edited', 4, 4],
    ['a changed mac', log.with(3, edited(line(3), '}}}\n', '}}} \n')), 'edited', 4, 4],
    [
      'a changed number',
      log.with(3, edited(line(3), '"sequence":4', '"sequence":5')),
      'edited',
      4,
      4,
    ],
    ['a record that is no JSON', log.with(3, Buffer.from('#\n')), 'not JSON', 4, 4],
    ['the last record changed', log.with(11, edited(line(11), '1.8.0', '1.8.1')), 'edited', 12, 12],
    [
      'another writer named',
      log.with(3, edited(line(3), `"${WRITER}-4`, `"${OTHER}-4`)),
      'edited',
      4,
      4,
    ],
    ['a key of another name', log.with(3, edited(line(3), KEY.id, OTHER_KEY.id)), 'edited', 4, 4],
    ['a forged record', log.with(3, at(3)), 'edited', 4, 4],
    ['a record gone', log.toSpliced(3, 1), 'deleted', 4, 5],
    ['records gone', log.toSpliced(3, 4), 'deleted', 4, 8],
    ['the first record gone', log.slice(1), 'missing start', 1, 2],
    ['neighbours swapped', log.with(3, line(4)).with(4, line(3)), 'swapped', 4, 5],
    ['the first two swapped', log.with(0, line(1)).with(1, line(0)), 'swapped', 1, 2],
    ['records far apart swapped', log.with(2, line(9)).with(9, line(2)), 'swapped', 3, 10],
    ['a record twice', log.toSpliced(4, 0, line(3)), 'inserted', 5, 4],
    ['a record twice, far behind', log.toSpliced(10, 0, line(3)), 'inserted', 11, 4],
    ['a later record twice', log.toSpliced(3, 0, line(8)), 'inserted', 4, 9],
    ['a forged record between two', log.toSpliced(3, 0, at(3)), 'inserted', 4, 4],
    ['a forged record at the end', [...log, at(3)], 'inserted', 13, 4],
    [
      'text between two',
      log.toSpliced(3, 0, Buffer.from('constructor\n')),
      'not JSON',
      4,
      undefined,
    ],
    ['an empty line', log.toSpliced(3, 0, Buffer.from('\n')), 'not JSON', 4, undefined],
    ['other JSON', log.toSpliced(3, 0, Buffer.from('{"a":1}\n')), 'not a record', 4, undefined],
    ['a chain of somebody else', [...log, ...foreign], 'unknown key', 13, 1],
    ['half a line', log.with(3, line(3).subarray(0, 99)), 'torn line', 4, 4],
    [
      'half a line at the end',
      [...log.slice(0, 11), line(11).subarray(0, 99)],
      'torn line',
      12,
      undefined,
    ],
  ])('finds %s', (_name, lines, kind, number, sequence) => {
    expect(found(lines)).toEqual([kind, number, sequence])
  })

  it('finds an invalid byte in place of a character that decodes alike', () => {
    const place = line(1).indexOf('\ufffd')
    const copy = Buffer.concat([
      line(1).subarray(0, place),
      Buffer.of(0xff),
      line(1).subarray(place + 3),
    ])
    expect(copy.toString()).toBe(line(1).toString())
    expect(found(log.with(1, copy))).toEqual(['edited', 2, 2])
  })

  it('finds a second chain that continues the numbers of the first', () => {
    const fork = logOf({ records: 10, every: 4 })
    expect(found([...log.slice(0, 6), ...fork.slice(6)])).toEqual(['wrong link', 7, 7])
    expect(found([...log.slice(0, 6), ...log.slice(6)])).toBe('nothing')
  })

  it('does not take a record of another key for one that was moved', () => {
    const foreign = logOf({ records: 10, every: 5, key: OTHER_KEY })
    const lines = [...log.toSpliced(3, 1), foreign[3] ?? line(3)]
    expect(found(lines)).toEqual(['deleted', 4, 5])
    expect(found([...log.toSpliced(3, 1), line(3)])).toEqual(['swapped', 4, 5])
  })

  it('finds the first of two damages among mixed writers', () => {
    const other = logOf({ records: 10, every: 5, writer: OTHER })
    const mixed = log.flatMap((raw, index) => [raw, other[index] ?? raw])
    expect(found(mixed.toSpliced(9, 1).toSpliced(4, 1))).toEqual(['deleted', 6, 4])
    expect(found(mixed.with(4, Buffer.from('#\n')))).toEqual(['not JSON', 5, 3])
    expect(found(mixed.toSpliced(4, 0, Buffer.from('#\n')))).toEqual(['not JSON', 5, undefined])
  })
})

describe('threat: an edited log, and the auditor has the public key alone', () => {
  const changed = edited(line(2), '1.8.0', '1.8.1')
  const { mac } = headOf([line(2)])

  it.each<[string, readonly Buffer[], DamageKind, number]>([
    ['a changed member', log.with(2, changed), 'wrong digest', 6],
    ['a changed mac', log.with(2, edited(line(2), mac, '0'.repeat(64))), 'wrong link', 4],
    ['a record gone', log.toSpliced(2, 1), 'deleted', 3],
    ['neighbours swapped', log.with(2, line(3)).with(3, line(2)), 'swapped', 3],
    ['a record twice', log.toSpliced(3, 0, line(2)), 'inserted', 4],
    [
      'a changed checkpoint',
      log.with(5, edited(line(5), '"time":1', '"time":2')),
      'wrong signature',
      6,
    ],
    [
      'a changed digest',
      log.with(5, edited(line(5), '"digest":"', '"digest":"0')),
      'not a record',
      6,
    ],
    [
      'a checkpoint without signature',
      log.with(5, edited(line(5), /,"signer.*?==?"/.exec(line(5).toString())?.[0] ?? '', '')),
      'wrong digest',
      12,
    ],
    [
      'a checkpoint of another chain',
      log.with(5, logOf({ records: 10, every: 5, key: OTHER_KEY })[5] ?? changed),
      'edited',
      6,
    ],
  ])('finds %s', (_name, lines, kind, number) => {
    expect(found(lines, WITH_PUBLIC_KEY).slice(0, 2)).toEqual([kind, number])
  })

  it.each<[string, (coverage: Coverage) => Coverage]>([
    ['the count', (coverage) => ({ ...coverage, count: coverage.count + 1 })],
    ['the digest', (coverage) => ({ ...coverage, digest: '0'.repeat(64) })],
    ['the writer', ({ head, ...rest }) => ({ ...rest, head: { ...head, writer: OTHER } })],
    ['the number', ({ head, ...rest }) => ({ ...rest, head: { ...head, sequence: 4 } })],
    ['the mac', ({ head, ...rest }) => ({ ...rest, head: { ...head, mac: '0'.repeat(64) } })],
  ])('refuses a signed checkpoint that is wrong about %s', (_name, lie) => {
    const lines = logOf({ records: 10, every: 5, lie })
    expect(found(lines, WITH_PUBLIC_KEY)).toEqual(['wrong digest', 6, 6])
  })

  it('refuses a chain that is not signed, or by nobody known', () => {
    expect(found(logOf({ records: 10, signer: undefined }), WITH_PUBLIC_KEY)[0]).toBe('not signed')
    expect(found(log.slice(0, 5), WITH_PUBLIC_KEY)[0]).toBe('not signed')
    const signer = checkpointSigner(OTHER_PRIVATE_KEY)
    expect(found(logOf({ records: 10, signer }), WITH_PUBLIC_KEY)[0]).toBe('unknown signer')
    expect(found(log, WITH_PUBLIC_KEY)).toBe('nothing')
  })

  it('refuses a chain of a stranger beside ours', () => {
    const foreign = logOf({ records: 3, writer: OTHER, signer: undefined, key: OTHER_KEY })
    expect(found([...log, ...foreign], WITH_PUBLIC_KEY)).toEqual(['not signed', 13, undefined])
  })

  it('does not vouch for what follows the newest checkpoint', () => {
    const { damage, writers } = verdictOf(
      [...log.slice(0, 6), edited(line(6), '1.8.0', '1.8.1')],
      WITH_PUBLIC_KEY,
    )
    expect([damage, writers[0]?.signed]).toEqual([undefined, { from: 1, to: 6 }])
  })
})

describe('threat: a log cut at its end, the newest records are gone', () => {
  const head = headOf(log)

  it('shows against a head from elsewhere alone', () => {
    expect(found(log.slice(0, 9))).toBe('nothing')
    expect(found(log.slice(0, 9), { ...WITH_MAC_KEY, heads: [head] })).toEqual(['truncated', 9, 12])
    expect(found(log, { ...WITH_MAC_KEY, heads: [head, headOf(log.slice(0, 3))] })).toBe('nothing')
  })

  it.each([
    ['a writer that is gone', { ...head, writer: OTHER }, ['truncated', undefined, 12]],
    ['another mac', { ...head, mac: '0'.repeat(64) }, ['wrong head', 12, 12]],
  ])('finds %s', (_name, known, damage) => {
    expect(found(log, { ...WITH_MAC_KEY, heads: [known] })).toEqual(damage)
  })

  it('accepts a missing beginning only when it is told to', () => {
    const rest = log.slice(3)
    const allowed = { ...BOTH, allowMissingStart: true }
    expect(found(rest, BOTH)[0]).toBe('missing start')
    const verdict = verdictOf(rest, allowed)
    expect(verdict.damage).toBe(undefined)
    expect(verdict.writers).toMatchObject([{ first: { sequence: 4 }, signed: { from: 6, to: 12 } }])
    const heads = [headOf(log.slice(0, 2))]
    expect(found(rest, { ...allowed, heads })).toEqual(['missing start', 1, 2])
    expect(found(rest.toSpliced(1, 1), allowed)[0]).toBe('deleted')
    expect(
      found(rest.with(4, edited(line(7), '1.8.0', '1.8.1')), {
        ...WITH_PUBLIC_KEY,
        allowMissingStart: true,
      }),
    ).toEqual(['wrong digest', 9, 12])
  })
})

describe('threat: a restart hides what was deleted before it', () => {
  const next = (head = headOf(log), tornBytes = 0): readonly Buffer[] =>
    logOf({ records: 10, every: 5, writer: OTHER, predecessor: { head, tornBytes } })

  it('lets a chain through that names the end of the one before it', () => {
    expect(found([...log, ...next()], BOTH)).toBe('nothing')
  })

  it.each<[string, readonly Buffer[], DamageKind, number | undefined]>([
    ['the end of the chain before it gone', [...log.slice(0, 9), ...next()], 'truncated', 9],
    ['the whole chain before it gone', next(), 'missing predecessor', 1],
    ['another chain before it', [...logOf({ records: 10, every: 4 }), ...next()], 'wrong head', 12],
  ])('finds %s', (_name, lines, kind, number) => {
    expect(found(lines, BOTH).slice(0, 2)).toEqual([kind, number])
  })

  it('accepts that the chain before it is in no file when it is told to', () => {
    expect(found(next(), { ...BOTH, allowMissingStart: true })).toBe('nothing')
  })

  it('accepts a chain before it that went on: two processes with one file', () => {
    const head = headOf(log.slice(0, 9))
    expect(found([...log.slice(0, 9), ...next(head), ...log.slice(9)], BOTH)).toBe('nothing')
    expect(found([...log, ...next(head)], BOTH)).toBe('nothing')
  })

  it('names half a line that a killed process left, and goes on when the next chain says so', () => {
    const half = Buffer.from(`${line(8).subarray(0, 99)}\n`)
    const killed = log.slice(0, 8)
    const { damage, torn } = verdictOf([...killed, half, ...next(headOf(killed), 99)], BOTH)
    expect([damage, torn]).toEqual([undefined, [{ file: 'log', line: 9 }]])
    for (const bytes of [0, 98, 100]) {
      expect(found([...killed, half, ...next(headOf(killed), bytes)], BOTH)[0]).toBe('torn line')
    }
    expect(found([...killed, half, half, ...next(headOf(killed), 99)], BOTH)[0]).toBe('torn line')
  })
})

describe('threat: damage at random, one of ten thousand goes unnoticed', () => {
  const lines = logOf({ records: 28, every: 9 })
  const heads = [headOf(lines)]
  const index = fc.nat({ max: lines.length - 1 })
  const range = fc.tuple(index, index).filter(([a, b]) => a < b)
  const runs = { numRuns: 2000, verbose: true } as const

  /** @param where the line that is named, when the damage has one */
  function expectFound(
    damaged: readonly Buffer[],
    kinds: readonly DamageKind[],
    where?: number,
  ): void {
    const { damage } = verdictOf(damaged, { ...WITH_MAC_KEY, heads })
    expect(kinds).toContain(damage?.kind)
    if (where !== undefined) expect(damage?.place?.line).toBe(where + 1)
  }

  const ANY_EDIT: readonly DamageKind[] = [
    'edited',
    'not JSON',
    'not a record',
    'torn line',
    'unknown key',
  ]

  it('finds edits', () => {
    const edit = fc.tuple(index, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 4 }))
    fc.assert(
      fc.property(edit, ([at, offset, bytes]) => {
        const raw = Buffer.from(lines[at] ?? '')
        const start = offset % (raw.length - 1)
        raw.set(bytes.subarray(0, raw.length - 1 - start), start)
        fc.pre(!raw.equals(lines[at] ?? raw))
        expectFound(linesOfBytes(Buffer.concat(lines.with(at, raw))), ANY_EDIT, at)
      }),
      runs,
    )
  })

  it('finds deletions', () => {
    fc.assert(
      fc.property(index, fc.integer({ min: 1, max: 28 }), (at, count) => {
        expectFound(lines.toSpliced(at, count), ['deleted', 'missing start', 'truncated'])
      }),
      runs,
    )
  })

  it('finds swaps', () => {
    fc.assert(
      fc.property(range, ([a, b]) => {
        const swapped = lines.with(a, lines[b] ?? KEY.key).with(b, lines[a] ?? KEY.key)
        expectFound(swapped, ['swapped'], a)
      }),
      runs,
    )
  })

  it('finds insertions', () => {
    const forged = logOf({ records: 28, every: 9, key: { id: KEY.id, key: OTHER_KEY.key } })
    const extra = fc.oneof(
      index.map((at) => lines[at] ?? KEY.key),
      index.map((at) => forged[at] ?? KEY.key),
      fc.json().map((text) => Buffer.from(`${text}\n`)),
      fc.string().map((text) => Buffer.from(`${text.replaceAll('\n', ' ')}\n`)),
    )
    const kinds: readonly DamageKind[] = ['inserted', 'not JSON', 'not a record']
    fc.assert(
      fc.property(index, extra, (at, raw) => expectFound(lines.toSpliced(at, 0, raw), kinds)),
      runs,
    )
  })

  it('finds truncations, at any byte', () => {
    const whole = Buffer.concat(lines)
    fc.assert(
      fc.property(fc.nat({ max: whole.length - 2 }), (size) => {
        expectFound(linesOfBytes(whole.subarray(0, size)), ['truncated', 'torn line'])
      }),
      runs,
    )
  })

  it('finds them with the public key alone, up to the newest checkpoint', () => {
    const signed = logOf({ records: 27, every: 9 })
    const place = fc.nat({ max: signed.length - 2 })
    const kind = fc.constantFrom('edit', 'delete', 'swap', 'insert')
    fc.assert(
      fc.property(
        kind,
        place,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (what, at, offset, mask) => {
          const raw = Buffer.from(signed[at] ?? '')
          const byte = offset % (raw.length - 1)
          raw.writeUInt8(raw.readUInt8(byte) ^ mask, byte)
          const next = signed[at + 1] ?? raw
          const damaged = {
            edit: signed.with(at, raw),
            delete: signed.toSpliced(at, 1),
            swap: signed.with(at, next).with(at + 1, signed[at] ?? raw),
            insert: signed.toSpliced(offset % (signed.length - 1), 0, raw),
          }[what]
          const { damage } = verdictOf(linesOfBytes(Buffer.concat(damaged)), WITH_PUBLIC_KEY)
          expect(damage).toBeDefined()
        },
      ),
      runs,
    )
  })
})
