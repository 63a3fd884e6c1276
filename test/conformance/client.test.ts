import { expect, it } from 'vitest'
import { requiredOf, runSuite } from './suite.ts'

/**
 * The newest revision, which has every scenario of the earlier ones about logging in. `npm run
 * conformance:client` runs all revisions.
 */
const REVISION = '2026-07-28'

it('contract: the terminal client passes what the conformance suite requires of a client', async () => {
  const outcomes = await runSuite(REVISION)
  const passing = outcomes.filter(({ required, failed }) => required && failed === 0)
  expect(passing.map(({ scenario }) => scenario).sort()).toEqual([...requiredOf(REVISION)].sort())
}, 120_000)
