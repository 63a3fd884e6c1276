import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ChainHead } from '../../audit/chain.ts'
import { readLine } from '../../audit/chain-line.ts'
import { publicKeyId } from '../../audit/checkpoint.ts'
import { UnreadableFile } from '../../audit/log-files.ts'
import { keyId } from '../../secrets.ts'
import { UsageError } from './terminal.ts'

const KEY_BYTES = 32

/**
 * Sub-keys of the purpose `audit-mac`, one a line, as `npm run keys -- derive audit-mac` prints them:
 * Base64 of 32 bytes.
 *
 * @returns by id
 */
export function macKeys(files: readonly string[]): ReadonlyMap<string, KeyObject> {
  return new Map(
    files.flatMap(linesIn).map((text) => {
      const key = Buffer.from(text, 'base64')
      if (key.length !== KEY_BYTES || key.toString('base64') !== text) {
        throw new UsageError(
          '--mac-key must name a file of keys as `npm run keys -- derive audit-mac` prints them.',
        )
      }
      return [keyId(key), createSecretKey(key)]
    }),
  )
}

const PEM = /-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g

/** Ed25519 public keys (PEM), one or more in a file. @returns by id */
export function publicKeys(files: readonly string[]): ReadonlyMap<string, KeyObject> {
  return new Map(
    files.flatMap((file) => {
      const found = textOf(file).match(PEM)?.map(ed25519) ?? []
      if (found.length === 0) throw noPublicKey()
      return found.map((key) => [publicKeyId(key), key] as const)
    }),
  )
}

function ed25519(pem: string): KeyObject {
  try {
    const key = createPublicKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below: the message of the parser may quote the file.
  }
  throw noPublicKey()
}

function noPublicKey(): UsageError {
  return new UsageError(
    '--public-key must name a file of Ed25519 public keys (PEM); make it with: openssl pkey -pubout',
  )
}

/** Records that must be in the log: `WRITER:SEQUENCE:MAC`, here or in files, where whole records do too. */
export function knownHeads(
  values: readonly string[],
  files: readonly string[],
): readonly ChainHead[] {
  return [...values, ...files.flatMap(linesIn)].map(headOf)
}

function headOf(text: string): ChainHead {
  const record = readLine(Buffer.from(text))
  if (record !== undefined) return record
  const [, writer, sequence, mac] =
    /^([0-9a-f]{16}):([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? []
  if (writer === undefined || mac === undefined) {
    throw new UsageError('--head must be WRITER:SEQUENCE:MAC, as verify prints it.')
  }
  return { writer, sequence: Number(sequence), mac }
}

function linesIn(file: string): readonly string[] {
  return textOf(file)
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
    .filter((line) => line !== '')
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UnreadableFile(file, error)
  }
}
