import { CannotBind } from './bind.ts'
import { describeError } from './log.ts'
import { Problems } from './problems.ts'
import { StoreUnreachable } from './stores/store.ts'

/** How a start that failed is told to the person at the terminal, and to the platform. */
export interface StartFailure {
  readonly text: string
  /** As in sysexits.h: 69 cannot listen or reach its store, 78 settings or policies; 1 for a bug. */
  readonly exitCode: 1 | 69 | 78
}

/** Names settings and policies, never their values. */
export function startFailure(error: unknown): StartFailure {
  if (error instanceof Problems) {
    const lines = error.problems.map(({ field, message }) => `  ${field}: ${message}\n`)
    return { text: `Gatehouse cannot start:\n${lines.join('')}`, exitCode: 78 }
  }
  if (error instanceof CannotBind) {
    return { text: `Gatehouse cannot listen:\n  ${error.message}\n`, exitCode: 69 }
  }
  if (error instanceof StoreUnreachable) {
    return { text: `Gatehouse cannot start without its store:\n  ${error.message}\n`, exitCode: 69 }
  }
  const facts = JSON.stringify(describeError(error, 'production'))
  return { text: `Gatehouse cannot start: ${facts}\n`, exitCode: 1 }
}
