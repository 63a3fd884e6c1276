import { afterAll, describe, expect, it } from 'vitest'
import { stopServers } from '../server.ts'
import { NEED_SESSIONS } from './expected-failures.ts'
import { runRequirements, suiteServer, surprises } from './server-suite.ts'
import { REVISIONS, requiredOf } from './suite.ts'

afterAll(stopServers)

/** `npm run conformance` runs everything: all scenarios, sessions, and with authentication. */
describe('contract: the conformance suite, without sessions', () => {
  it.each(REVISIONS)(
    'passes what MCP %s requires of a server',
    async (revision) => {
      const { url } = await suiteServer('stateless', true)
      const outcomes = await runRequirements(url, revision)
      const required = requiredOf(revision, 'server')
      const scored = outcomes.filter((outcome) => outcome.required)
      expect(scored.map(({ scenario }) => scenario).sort()).toEqual([...required].sort())
      const expected = NEED_SESSIONS.filter((scenario) => required.includes(scenario))
      expect(surprises(scored, expected)).toEqual([])
    },
    60_000,
  )
})
