import { isUtf8 } from 'node:buffer'
import { z } from 'zod'
import type { ChainHead } from './chain.ts'

/** What the chain needs to know of one line. */
export interface ChainLine extends ChainHead {
  /** `metadata.event_code` */
  readonly event: string
  /** Id of the sub-key. */
  readonly key: string
  /** MAC of the line before. */
  readonly prev: string
  /** Members of `unmapped` besides `chain`. Text in it may be wrongly decoded where it is not ASCII. */
  readonly unmapped: ReadonlyMap<string, unknown>
}

const NUMBER = '[1-9][0-9]{0,14}'
const HEAD = new RegExp(
  `^\\{"metadata":\\{"uid":"([0-9a-f]{16})-(${NUMBER})","sequence":(${NUMBER}),` +
    '"version":"[0-9.]{1,16}","event_code":"([a-z.-]{1,64})"',
)
const TAIL =
  /^"chain":\{"writer":"([0-9a-f]{16})","key":"([0-9a-f]{16})","prev":"([0-9a-f]{64})","mac":"([0-9a-f]{64})"\}\}\}$/
const TAIL_LENGTH = '"chain":{"writer":"","key":"","prev":"","mac":""}}}'.length + 2 * 16 + 2 * 64

/** Bytes at the end of a line that its MAC does not cover. */
export const MAC_LENGTH = ',"mac":""}}}'.length + 64

/** Names of members that are read, and the escape that another spelling of them would need. */
const READ = /"(?:metadata|sequence|event_code|unmapped|chain)":|\\u/g
/** How often they are found when each stands once, so that every reader of JSON finds the same one. */
const READ_ONCE = 5
const UNMAPPED = '"unmapped":{'

/**
 * Reads a line without line break, from bytes at its two ends: a million lines a few seconds, where
 * parsing all of each takes several times that.
 *
 * What is read is what a JSON parser would read, or nothing. Both ends must be exactly as the writer
 * makes them: no other order, spacing, escape or second member. When the names in between leave a
 * doubt, the whole line is parsed and must serialize to the same bytes.
 *
 * Not checked: that the bytes between are JSON. The MAC or the digest over them says that they are as
 * they were written.
 *
 * @returns `undefined` when it is not a record as this server writes them
 */
export function readLine(line: Buffer): ChainLine | undefined {
  const text = line.toString('latin1')
  const [, uidWriter, uidSequence, sequence, event] = HEAD.exec(text) ?? []
  const [, writer, key, prev, mac] = TAIL.exec(text.slice(-TAIL_LENGTH)) ?? []
  if (event === undefined || writer === undefined || key === undefined) return undefined
  if (prev === undefined || mac === undefined) return undefined
  if (uidWriter !== writer || uidSequence !== sequence) return undefined
  const unmapped = isPlain(text) ? membersBefore(text) : wholeLine(line, sequence, event, mac)
  if (unmapped === undefined) return undefined
  return { writer, sequence: Number(sequence), mac, event, key, prev, unmapped }
}

function isPlain(text: string): boolean {
  return text.match(READ)?.length === READ_ONCE
}

/** The members between `"unmapped":{` and `"chain"`. They parse only if `chain` is one of them. */
function membersBefore(text: string): ReadonlyMap<string, unknown> | undefined {
  const start = text.indexOf(UNMAPPED) + UNMAPPED.length
  const members = text.slice(start, -TAIL_LENGTH)
  if (members === '') return new Map()
  if (start < UNMAPPED.length || !members.endsWith(',')) return undefined
  return membersOf(parse(`{${members.slice(0, -1)}}`))
}

/** @returns `undefined` unless the line is what `JSON.stringify` makes of it, with these values. */
function wholeLine(
  line: Buffer,
  sequence: string | undefined,
  event: string,
  mac: string,
): ReadonlyMap<string, unknown> | undefined {
  const text = line.toString()
  const record = parse(text)
  if (!isUtf8(line) || JSON.stringify(record) !== text) return undefined
  const metadata = membersOf(membersOf(record)?.get('metadata'))
  const unmapped = membersOf(membersOf(record)?.get('unmapped'))
  const same =
    String(metadata?.get('sequence')) === sequence &&
    metadata?.get('event_code') === event &&
    membersOf(unmapped?.get('chain'))?.get('mac') === mac
  return same ? unmapped : undefined
}

/** @returns `undefined` for what is not JSON. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The members of an object; `undefined` for anything else. */
export function membersOf(value: unknown): ReadonlyMap<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return new Map(Object.entries(value))
}

const sequence = z.int().min(1)
const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`))
const head = z.strictObject({ writer: hex(16), sequence, mac: hex(64) })

/** `unmapped.checkpoint` of `audit.checkpoint`. */
export const checkpointMember = z
  .strictObject({
    head,
    count: sequence,
    digest: hex(64),
    signer: hex(16).optional(),
    signature: z.string().length(88).optional(),
  })
  .refine(({ signer, signature }) => (signer === undefined) === (signature === undefined))

/** `unmapped.predecessor` of the first record of a writer in a file that was not empty. */
export const predecessorMember = z.union([
  head.extend({ torn_bytes: sequence.optional() }),
  z.strictObject({ torn_bytes: sequence }),
])
