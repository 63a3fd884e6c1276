import { createPrivateKey, createPublicKey, createSecretKey } from 'node:crypto'
import {
  type AuditRecord,
  type ChainHead,
  type Coverage,
  createChain,
  type Predecessor,
} from '../../src/audit/chain.ts'
import { readLine } from '../../src/audit/chain-line.ts'
import { checkpointSigner, publicKeyId } from '../../src/audit/checkpoint.ts'
import { createVerifier, type Verdict, type VerifierOptions } from '../../src/audit/verifier.ts'
import { type SubKey, secretRing } from '../../src/secrets.ts'

/** Logs as the server writes them, and their verification. Each line is a buffer with its line feed. */

export const [KEY] = secretRing([Buffer.alloc(32, 1)])('audit-mac')
export const [OTHER_KEY] = secretRing([Buffer.alloc(32, 2)])('audit-mac')

/** Of RFC 8032 §7.1, tests 1 and 2. */
export const PRIVATE_KEY = ed25519(
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
)
export const OTHER_PRIVATE_KEY = ed25519(
  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
)
export const SIGNER = checkpointSigner(PRIVATE_KEY)

function ed25519(seed: string): ReturnType<typeof createPrivateKey> {
  const der = Buffer.from(`302e020100300506032b657004220420${seed}`, 'hex')
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
}

export const WITH_MAC_KEY = { macKeys: new Map([[KEY.id, createSecretKey(KEY.key)]]) }
const PUBLIC_KEY = createPublicKey(PRIVATE_KEY)
export const WITH_PUBLIC_KEY = { publicKeys: new Map([[publicKeyId(PUBLIC_KEY), PUBLIC_KEY]]) }

export interface LogOptions {
  /** Records besides checkpoints. */
  readonly records: number
  readonly writer?: string
  readonly key?: SubKey
  readonly signer?: typeof SIGNER | undefined
  /** Records between two checkpoints. */
  readonly every?: number
  readonly predecessor?: Predecessor
  /** What checkpoints say instead of the truth. */
  readonly lie?: (coverage: Coverage) => Coverage
  /** Whether `server.stop` and a checkpoint end it. */
  readonly stops?: boolean
}

export const WRITER = '0123456789abcdef'

export function recordOf(event: string, unmapped: object = {}): AuditRecord {
  return {
    metadata: { version: '1.8.0', event_code: event },
    time: 1_790_000_000_000,
    text: '"mac" \u00e9 \ufffd',
    unmapped: { ...unmapped },
  }
}

export function logOf(options: LogOptions): readonly Buffer[] {
  const { records, writer = WRITER, key = KEY, every = 10, predecessor, stops = false } = options
  const { lie = (coverage) => coverage } = options
  const signer = 'signer' in options ? options.signer : SIGNER
  const chain = createChain({ key, writer, predecessor })
  const lines: string[] = []
  const checkpoint = (): void => {
    lines.push(
      chain.checkpoint((coverage) => {
        const { head, count, digest } = lie(coverage)
        const signature = signer === undefined ? {} : { signer: signer.id, signature: '' }
        return recordOf('audit.checkpoint', { checkpoint: { head, count, digest, ...signature } })
      }, signer?.seal),
    )
  }
  for (let index = 0; index < records; index += 1) {
    lines.push(chain.append(recordOf(index === 0 ? 'server.start' : 'request', { mcp: { index } })))
    if (chain.uncovered() === every) checkpoint()
  }
  if (stops) {
    lines.push(chain.append(recordOf('server.stop')))
    checkpoint()
  }
  return lines.map((line) => Buffer.from(`${line}\n`))
}

/** Verifies lines, with the MAC key unless it is said otherwise. */
export function verdictOf(
  lines: readonly Buffer[],
  options: Partial<VerifierOptions> = WITH_MAC_KEY,
): Verdict {
  const verifier = createVerifier({
    macKeys: new Map(),
    publicKeys: new Map(),
    heads: [],
    allowMissingStart: false,
    ...options,
  })
  lines.every((raw, index) => verifier.add(raw, { file: 'log', line: index + 1 }))
  return verifier.finish()
}

/** The last record of a log. */
export function headOf(lines: readonly Buffer[]): ChainHead {
  const record = readLine(lines.at(-1)?.subarray(0, -1) ?? Buffer.alloc(0))
  if (record === undefined) throw new Error('No record')
  const { writer, sequence, mac } = record
  return { writer, sequence, mac }
}

/** What is left of the lines of a text, as a file is read. */
export function linesOfBytes(bytes: Buffer): readonly Buffer[] {
  const lines: Buffer[] = []
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf('\n', start)
    const next = end === -1 ? bytes.length : end + 1
    lines.push(bytes.subarray(start, next))
    start = next
  }
  return lines
}
