import type { z } from 'zod'

/** One thing that is wrong with the settings or the policies. Never carries a value. */
export interface Problem {
  /** Name of the variable, or file and path of the policy, such as `http.yaml origins.0.value`. */
  readonly field: string
  readonly message: string
}

/** Everything that is wrong, at once: `start-failure.ts` prints one line for each. Exit code 78. */
export class Problems extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ field, message }) => `${field}: ${message}`).join('\n'))
    this.name = 'Problems'
    this.problems = problems
  }
}

const KINDS: ReadonlyMap<string, string> = new Map([
  ['string', 'text'],
  ['boolean', 'true or false'],
  ['int', 'a whole number'],
  ['array', 'a list'],
  ['object', 'a map'],
  ['record', 'a map'],
])
const UNITS: ReadonlyMap<string, string> = new Map([
  ['string', ' characters'],
  ['array', ' entries'],
])

/** The `error` of a parse: says what is expected to people who do not know zod. Never quotes the input. */
export function inWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.input === undefined) return 'is missing'
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${KINDS.get(issue.expected) ?? issue.expected}`
    case 'invalid_value':
      return `must be ${issue.values.join(' or ')}`
    case 'too_big':
      return `must be at most ${issue.maximum}${UNITS.get(issue.origin) ?? ''}`
    case 'too_small':
      if (issue.minimum === 1 && UNITS.has(issue.origin)) return 'must not be empty'
      return `must be at least ${issue.minimum}${UNITS.get(issue.origin) ?? ''}`
    case 'unrecognized_keys':
      return 'has a field that is not known'
    default:
      return undefined
  }
}
