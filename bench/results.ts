import type { Era } from './client.ts'

/** What `bench/results.json` holds. All rounds are kept: tables and charts are made from them. */
export interface Results {
  /** Day of the run, ISO 8601. */
  readonly date: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly node: string
    /** Whether servers and load generator had a core each. */
    readonly pinned: boolean
    /** Processes that wanted to run, in the minute before and in the last one (os.loadavg). */
    readonly load: readonly [before: number, after: number]
  }
  readonly settings: {
    readonly rounds: number
    readonly seconds: number
    readonly connections: number
  }
  /** Of the packages compared. */
  readonly versions: Readonly<Record<string, string>>
  /** Servers that were left out, and why. */
  readonly missing: readonly { readonly label: string; readonly why: string }[]
  readonly sections: Readonly<Record<SectionName, readonly Row[]>>
}

export type SectionName =
  | 'calls'
  | 'lists'
  | 'progress'
  | 'start'
  | 'tools'
  | 'callers'
  | 'controls'

export interface Row {
  /** Unique in its section and era. */
  readonly id: string
  readonly label: string
  readonly era: Era
  /** One record of figures for each round. */
  readonly rounds: readonly Figures[]
  /** Why there are no figures. */
  readonly why?: string | undefined
}

export type Figures = Readonly<Record<string, number>>

/** The middle of several rounds, and the bounds of their middle half: a quarter lies below, one above. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

/** @returns the figure of one row divided by that of another within each round; `undefined` without either */
export function ratioOf(
  top: Row | undefined,
  bottom: Row | undefined,
  figure: string,
): Spread | undefined {
  if (top === undefined || bottom === undefined) return undefined
  const ratios = top.rounds.flatMap((round, index) => {
    const ratio = (round[figure] ?? Number.NaN) / (bottom.rounds[index]?.[figure] ?? Number.NaN)
    return Number.isFinite(ratio) ? [ratio] : []
  })
  return ratios.length === 0 ? undefined : spreadOf(ratios)
}

function spreadOf(numbers: readonly number[]): Spread {
  return {
    median: quantile(numbers, 0.5),
    low: quantile(numbers, 0.25),
    high: quantile(numbers, 0.75),
  }
}

/** @returns the number below which a share of them lies, between the two nearest ones */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const place = (sorted.length - 1) * share
  const below = sorted[Math.floor(place)] ?? Number.NaN
  const above = sorted[Math.ceil(place)] ?? Number.NaN
  return below + (above - below) * (place % 1)
}

/** @returns the row of a server in a section */
export function rowOf(rows: readonly Row[], id: string, era: Era): Row | undefined {
  return rows.find((row) => row.id === id && row.era === era)
}
