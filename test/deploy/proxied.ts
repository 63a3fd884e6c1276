import type { Production } from '../production.ts'
import { type PolicyEdit, type Server, startServer } from '../server.ts'

/** Every caller of a test has one address, so its limits are not the subject. */
const NO_LIMITS: readonly PolicyEdit[] = [
  [
    'limits.yaml',
    'requestsPerMinute: 600, authFailuresPerMinute: 30',
    'requestsPerMinute: 1000000, authFailuresPerMinute: 1000',
  ],
  ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 1000000'],
]
const GATES: PolicyEdit = [
  'access.yaml',
  'tools:\n',
  ['tools:', 'pass_gate', 'open_gate']
    .join('\n  ')
    .replaceAll(/^ {2}(\w+)$/gm, '  $1: { scopes: [], timeoutSeconds: 300, why: "for tests" }')
    .concat('\n'),
]

/** A production server behind a proxy on this machine, with the tools of `gated-server.ts`. */
export function startProxied({ env, unprivileged }: Production): Promise<Server> {
  return startServer({
    env: { ...env, MCP_TRUSTED_PROXIES: '127.0.0.1/32' },
    policies: [...NO_LIMITS, GATES],
    entry: 'test/deploy/gated-server.ts',
    ...unprivileged,
  })
}
