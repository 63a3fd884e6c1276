import { readFileSync } from 'node:fs'
import { type Problem, Problems } from '../../problems.ts'
import { parseStrictYaml } from '../../strict-yaml.ts'

/**
 * @returns what `check` finds wrong; empty when nothing is
 * @throws whatever else it throws
 */
export function problemsOf(check: () => void): readonly Problem[] {
  try {
    check()
    return []
  } catch (error) {
    if (error instanceof Problems) return error.problems
    throw error
  }
}

/**
 * Adds the line to a problem that has none. JSON is YAML, so this finds lines in key files, too.
 *
 * @param file what the field names by its first word
 */
export function withLine(file: string, { field, message }: Problem): Problem {
  if (/\(line \d+\)$/.test(message)) return { field, message }
  const path = field.split(' ').slice(1).join(' ')
  const line = lineOf(file, path)
  return { field, message: line === undefined ? message : `${message} (line ${line})` }
}

function lineOf(file: string, path: string): number | undefined {
  try {
    const yaml = parseStrictYaml(readFileSync(file))
    return 'problems' in yaml ? undefined : yaml.lineOf(segmentsOf(path, yaml.value))
  } catch {
    // The problem itself says that the file cannot be read.
    return undefined
  }
}

/** The keys along a dotted path. A key may have dots of its own: `resources.report://{id}.when`. */
function segmentsOf(path: string, value: unknown): readonly PropertyKey[] {
  if (path === '' || typeof value !== 'object' || value === null) return []
  const key = Object.keys(value).find((name) => path === name || path.startsWith(`${name}.`))
  if (key === undefined) return []
  const member: unknown = Reflect.get(value, key)
  return [
    Array.isArray(value) ? Number(key) : key,
    ...segmentsOf(path.slice(key.length + 1), member),
  ]
}
