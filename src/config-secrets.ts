import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { type Problem, Problems } from './problems.ts'

const MIN_BYTES = 32
const MAX_SECRETS = 8
/** 32 random bytes hold fewer distinct values than this once in 10^9 rings. */
const MIN_DISTINCT = 20

/** Settings whose value may be in a file named by `<NAME>_FILE` instead. */
export const SECRETS: readonly string[] = [
  'MCP_SECRET',
  'REDIS_URL', // optional: redis
  'MCP_STDIO_KEY', // optional: stdio
]

/** Root secrets as written in one variable: base64 values separated by single spaces. */
export const secretList = z.string().transform((text, context): readonly [Buffer, ...Buffer[]] => {
  const roots = text.split(' ').map((value) => Buffer.from(value, 'base64'))
  const [first, ...rest] = roots
  const complaint = complaintAbout(text, roots)
  if (complaint !== undefined || first === undefined) {
    context.addIssue({ code: 'custom', message: complaint ?? 'is empty' })
    return z.NEVER
  }
  return Object.freeze([first, ...rest] as const)
})

function complaintAbout(text: string, roots: readonly Buffer[]): string | undefined {
  // Buffer skips what is not base64; only a value that comes back the same was all base64.
  const written = roots.map((root) => root.toString('base64')).join(' ')
  if (written !== text)
    return 'must be base64 values separated by single spaces; make one with: openssl rand -base64 32'
  if (roots.some((root) => root.length < MIN_BYTES)) {
    return `must be at least ${MIN_BYTES} bytes each, decoded`
  }
  if (roots.some(isGuessable)) return 'is not random; make it with: openssl rand -base64 32'
  if (roots.length > MAX_SECRETS) return `must be at most ${MAX_SECRETS} values`
  if (new Set(text.split(' ')).size < roots.length) return 'has a value twice'
  return undefined
}

/** Examples, phrases, repeats and counters. Not a measure of entropy: that has to come from the source. */
function isGuessable(root: Buffer): boolean {
  const isText = root.every((byte) => byte >= 0x20 && byte < 0x7f)
  const step = ((root[1] ?? 0) - (root[0] ?? 0)) & 0xff
  const counts = root.every(
    (byte, index) => index === 0 || ((byte - (root[index - 1] ?? 0)) & 0xff) === step,
  )
  return isText || counts || new Set(root).size < MIN_DISTINCT
}

type SecretFile = { readonly name: string; readonly value: string } | { readonly problem: Problem }

/** Reads the secrets that are given as files. A final line break is not part of the secret. */
export function readSecretFiles(env: NodeJS.ProcessEnv): SecretFile[] {
  const named = SECRETS.filter((name) => env[`${name}_FILE`] !== undefined)
  return named.map((name) => {
    const field = `${name}_FILE`
    if (env[name] !== undefined) return { problem: { field, message: `is set beside ${name}` } }
    try {
      return { name, value: readFileSync(env[field] ?? '', 'utf8').replace(/\r?\n$/, '') }
    } catch {
      return { problem: { field, message: 'cannot be read' } }
    }
  })
}

/**
 * The root secrets alone, for a command that needs no other setting.
 *
 * @throws {Problems} when they are missing or wrong
 */
export function rootSecrets(env: NodeJS.ProcessEnv): readonly [Buffer, ...Buffer[]] {
  const { MCP_SECRET, MCP_SECRET_FILE } = env
  const [file] = readSecretFiles({ MCP_SECRET, MCP_SECRET_FILE })
  if (file !== undefined && 'problem' in file) throw new Problems([file.problem])
  const result = secretList.safeParse(file?.value ?? MCP_SECRET)
  if (result.success) return result.data
  const message = result.error.issues.map((issue) => issue.message).join('; ')
  const given = file !== undefined || MCP_SECRET !== undefined
  throw new Problems([
    { field: 'MCP_SECRET', message: given ? message : 'or MCP_SECRET_FILE is required' },
  ])
}
