/** One thing that is wrong with the settings or the policies. Never carries a value. */
export interface Problem {
  /** Name of the variable, or file and path of the policy, such as `http.yaml origins.0.value`. */
  readonly field: string
  readonly message: string
}

/** Everything that is wrong, at once. `main.ts` prints one line for each and exits 78. */
export class Problems extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ field, message }) => `${field}: ${message}`).join('\n'))
    this.name = 'Problems'
    this.problems = problems
  }
}
