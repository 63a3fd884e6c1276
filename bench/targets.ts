import { type Results, type Row, ratioOf, rowOf, type SectionName, type Spread } from './results.ts'

interface Target {
  readonly what: string
  readonly section: SectionName
  readonly figure: 'perSecond' | 'cpuMs'
  readonly era: Row['era']
  readonly top: string
  readonly bottom: string
  readonly atLeast?: number
  readonly atMost?: number
}

const speed = {
  section: 'calls',
  figure: 'perSecond',
  era: '2026',
  top: 'gatehouse',
} as const satisfies Partial<Target>

const TARGETS: readonly Target[] = [
  { ...speed, what: 'calls a second / Hono alone', bottom: 'hono', atLeast: 0.23 },
  {
    ...speed,
    what: 'calls a second / SDK, schemas made once',
    bottom: 'sdk-careful',
    atLeast: 1.5,
  },
  { ...speed, what: 'calls a second / SDK as documented', bottom: 'sdk-documented', atLeast: 6 },
  {
    ...speed,
    what: 'calls a second / fastmcp with sessions',
    era: '2025',
    bottom: 'fastmcp',
    atLeast: 2,
  },
  {
    ...speed,
    what: 'calls a second / fastmcp, stateless',
    era: '2025',
    bottom: 'fastmcp-stateless',
    atLeast: 2,
  },
  {
    section: 'lists',
    figure: 'cpuMs',
    era: '2026',
    what: 'CPU of a list of 50 tools / SDK, schemas made once',
    top: 'gatehouse',
    bottom: 'sdk-careful',
    atMost: 0.25,
  },
  {
    section: 'tools',
    figure: 'cpuMs',
    era: '2026',
    what: 'CPU of a call with 50 tools / with 3',
    top: 'gatehouse-50',
    bottom: 'gatehouse-3',
    atMost: 1.2,
  },
  {
    section: 'controls',
    figure: 'cpuMs',
    era: '2026',
    what: 'CPU of a call without / with audit records',
    top: 'records',
    bottom: 'whole',
    atLeast: 0.9,
  },
]

export interface Verdict {
  readonly what: string
  readonly ratio: Spread
  /** Such as `at least 1.5`. */
  readonly wanted: string
  /** By the median. */
  readonly met: boolean
}

/** @returns what became of the targets that were measured */
export function verdicts({ sections }: Results): readonly Verdict[] {
  return TARGETS.flatMap(({ what, section, figure, era, top, bottom, atLeast, atMost }) => {
    const rows = sections[section]
    const ratio = ratioOf(rowOf(rows, top, era), rowOf(rows, bottom, era), figure)
    if (ratio === undefined) return []
    const wanted = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`
    const { median } = ratio
    const met = median >= (atLeast ?? median) && median <= (atMost ?? median)
    return [{ what: `Gatehouse: ${what}`, ratio, wanted, met }]
  })
}
