/** One thing that was measured, beside what it has to be. */
export interface Figure {
  readonly what: string
  readonly measured: number
  readonly unit: string
  /** `undefined` for what only informs. */
  readonly target?: { readonly atMost: number } | { readonly atLeast: number }
  /** It counts something and does not depend on how fast the machine is: the smoke run looks at it. */
  readonly isCount?: true
}

/** `whole` is what `npm run load` does. `smoke` takes a few seconds and says nothing about speed. */
export type Size = 'whole' | 'smoke'

export interface Scenario {
  readonly name: string
  readonly about: string
  /** What this machine lacks for it; `undefined` when it can run. */
  missing?(size: Size): string | undefined
  run(size: Size): Promise<readonly Figure[]>
}

export function isMet({ measured, target }: Figure): boolean {
  if (target === undefined) return true
  // NaN is never met.
  return 'atMost' in target ? measured <= target.atMost : measured >= target.atLeast
}

/** Something that must not happen at all. */
export function none(what: string, measured: number): Figure {
  return { what, measured, unit: '', target: { atMost: 0 }, isCount: true }
}

/** Something that shows that the rest means anything: there were so many. */
export function some(what: string, measured: number, atLeast: number): Figure {
  return { what, measured, unit: '', target: { atLeast }, isCount: true }
}

/** Of sorted or unsorted numbers; `NaN` without any. @param part 0.5 is the median */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
