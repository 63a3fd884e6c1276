import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PolicyEdit, type Server, startServer, stopServers } from '../server.ts'
import { NEED_SESSIONS } from './expected-failures.ts'
import { keyProxy } from './key-proxy.ts'
import { type Outcome, outcomesOf, REVISIONS, type Revision, requiredOf } from './suite.ts'

export const POSTURES = ['stateless', 'sessions'] as const
type Posture = (typeof POSTURES)[number]

const ROOT = join(import.meta.dirname, '../..')
const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** What the catalog of the suite needs; nothing else of the shipped policies is changed. */
function policiesOf(posture: Posture): PolicyEdit[] {
  const access = 'access.yaml' satisfies PolicyEdit[0]
  const edits: PolicyEdit[] = [
    [access, text('policies/access.yaml'), text('test/conformance/access.yaml')],
    // The suite is one address that sends as much as many do.
    ['limits.yaml', 'requestsPerMinute: 600,', 'requestsPerMinute: 100000,'],
    ['limits.yaml', 'requestsPerMinute: 1200,', 'requestsPerMinute: 100000,'],
  ]
  if (posture === 'sessions') edits.push(['http.yaml', 'legacy: stateless', 'legacy: sessions'])
  return edits
}

/** The server as a process, with the catalog of the suite. */
export function suiteServer(posture: Posture, anonymous: boolean): Promise<Server> {
  return startServer({
    entry: 'test/conformance/server.ts',
    policies: policiesOf(posture),
    env: anonymous ? { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' } : {},
  })
}

/** Runs the scenarios that a revision requires of a server, and those that it does not score. */
export function runRequirements(url: string, revision: Revision): Promise<Outcome[]> {
  const line = ['server', '--url', url, '--requirements', revision]
  return outcomesOf(line, requiredOf(revision, 'server'))
}

/** Runs everything that the suite has for servers. */
function runAll(url: string): Promise<Outcome[]> {
  return outcomesOf(['server', '--url', url, '--suite', 'all'], [])
}

/** Scenarios that failed and may not, and those that may fail and did not. */
export function surprises(outcomes: readonly Outcome[], expected: readonly string[]): string[] {
  return outcomes
    .filter(({ scenario, failed }) => failed > 0 !== expected.includes(scenario))
    .map(({ scenario }) => scenario)
}

interface Row {
  readonly run: string
  readonly scored: string
  readonly passed: number
  readonly failed: number
  readonly unexpected: string
}

function rowOf(run: string, outcomes: readonly Outcome[], expected: readonly string[]): Row {
  const required = outcomes.filter((outcome) => outcome.required)
  const good = required.filter(({ failed }) => failed === 0)
  const sum = (of: 'passed' | 'failed'): number =>
    outcomes.reduce((total, outcome) => total + outcome[of], 0)
  return {
    run,
    scored: required.length === 0 ? '' : `${good.length}/${required.length}`,
    passed: sum('passed'),
    failed: sum('failed'),
    unexpected: outcomes.length === 0 ? 'nothing ran' : surprises(outcomes, expected).join(' '),
  }
}

async function rowsAt(url: string, posture: Posture, how: string): Promise<Row[]> {
  const allowed = posture === 'stateless' ? NEED_SESSIONS : []
  const name = (what: string): string => `${posture}, ${how}, ${what}`
  const rows: Row[] = []
  for (const revision of REVISIONS) {
    const outcomes = await runRequirements(url, revision)
    const required = requiredOf(revision, 'server')
    const expected = allowed.filter((scenario) => required.includes(scenario))
    const scored = outcomes.filter((outcome) => outcome.required)
    rows.push({
      ...rowOf(name(revision), outcomes, []),
      unexpected: rowOf('', scored, expected).unexpected,
    })
  }
  rows.push(rowOf(name('all'), await runAll(url), allowed))
  return rows
}

async function rowsOf(posture: Posture): Promise<Row[]> {
  const open = await suiteServer(posture, true)
  const rows = await rowsAt(open.url, posture, 'anonymous')
  const guarded = await suiteServer(posture, false)
  await using proxy = await keyProxy(guarded.url, guarded.key)
  return [...rows, ...(await rowsAt(proxy.url, posture, 'API key'))]
}

if (import.meta.main) {
  const rows: Row[] = []
  for (const posture of POSTURES) rows.push(...(await rowsOf(posture)))
  await stopServers()
  console.table(rows)
  if (rows.some(({ unexpected }) => unexpected !== '')) process.exitCode = 1
}
