// optional: api-key
import { loadKeys } from '../../auth/key-file.ts'
import type { Problem } from '../../problems.ts'
import { problemsOf, withLine } from './problem-lines.ts'

/** What keeps a server with these policies from reading a key file. */
export function keyFileProblems(file: string, maxLifetimeDays: number): readonly Problem[] {
  return problemsOf(() => loadKeys(file, maxLifetimeDays)).map((problem) => withLine(file, problem))
}
