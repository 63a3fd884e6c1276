import {
  createPrivateKey,
  createPublicKey,
  sign as ed25519Sign,
  verify as ed25519Verify,
  type KeyObject,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Problems } from '../problems.ts'
import { keyId } from '../secrets.ts'

/**
 * Threat:  whoever holds the MAC key can write a chain of their own and call it the log. Auditors who
 *          are given that key could, too.
 * Rule:    a checkpoint is a record of the chain that carries SHA-256 over the exact bytes of all lines
 *          since the checkpoint before, that one included, and an Ed25519 signature. Before the newest
 *          checkpoint, the public key alone finds every edit, deletion, insertion and swap.
 *
 *          Signed are these bytes, in this order:
 *          1. the ASCII text `gatehouse/v1/audit-checkpoint`, and one line feed (0x0A);
 *          2. the line of the checkpoint from its first byte up to, and without, `,"signature":"`.
 *          They hold version, writer, number, time, head, count, digest and the id of the key. The
 *          signature follows in the line: Base64 (RFC 4648 §4) of its 64 bytes.
 * Config:  `MCP_AUDIT_SIGNING_KEY_FILE`
 * Source:  RFC 8032 §5.1 (Ed25519); NIST SP 800-53 AU-10
 */
const TAG = 'gatehouse/v1/audit-checkpoint\n'

/** Where the signature goes in a line that is not signed yet. `toOcsf` leaves it so. */
const PLACE = ',"signature":""'
const BEFORE = ',"signature":"'

export interface CheckpointSigner {
  /** Of the public key: first 8 bytes of the SHA-256 of its DER (SubjectPublicKeyInfo), hex. */
  readonly id: string
  /** @returns the line with its signature in place */
  seal(open: string): string
}

/** Ed25519, as an unencrypted PKCS#8 PEM. @throws {Problems} */
export function loadSigner(file: string): CheckpointSigner {
  return checkpointSigner(privateKey(file))
}

function privateKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file))
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below: the message of the parser may quote the file.
  }
  const message =
    'must be an Ed25519 private key (PEM); make one with: openssl genpkey -algorithm ed25519'
  throw new Problems([{ field: 'MCP_AUDIT_SIGNING_KEY_FILE', message }])
}

export function checkpointSigner(key: KeyObject): CheckpointSigner {
  return {
    id: publicKeyId(createPublicKey(key)),
    seal(open) {
      const [before, after, ...more] = open.split(PLACE)
      if (before === undefined || after === undefined || more.length > 0) {
        throw new TypeError('Not a checkpoint')
      }
      const signature = ed25519Sign(null, Buffer.from(TAG + before), key).toString('base64')
      return `${before}${BEFORE}${signature}"${after}`
    },
  }
}

export function publicKeyId(key: KeyObject): string {
  return keyId(key.export({ type: 'spki', format: 'der' }))
}

/** Whether the signature in the line of a checkpoint is of this key. */
export function isSigned(line: Buffer, signature: string, key: KeyObject): boolean {
  const end = line.indexOf(BEFORE)
  const bytes = Buffer.from(signature, 'base64')
  if (end === -1 || end !== line.lastIndexOf(BEFORE)) return false
  if (bytes.toString('base64') !== signature) return false
  return ed25519Verify(null, Buffer.concat([Buffer.from(TAG), line.subarray(0, end)]), key, bytes)
}
