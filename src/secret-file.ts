import { readFileSync } from 'node:fs'
import { Problems } from './problems.ts'

/** RFC 6749 appendix A.2. */
const SECRET = /^[\x20-\x7e]{1,4096}$/

/**
 * The secret that a file named by a policy holds. A final line break is not part of it.
 *
 * @param field who names the file, for the message
 * @throws {Problems} when it holds none
 */
export function readSecretFile(file: string, field: string): string {
  let secret: string
  try {
    secret = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  } catch {
    throw new Problems([{ field, message: 'names no file that can be read' }])
  }
  if (SECRET.test(secret)) return secret
  throw new Problems([{ field, message: 'must hold 1 to 4096 ASCII characters on one line' }])
}
