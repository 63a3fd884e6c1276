/** One protection taken away, and the tests that have to notice. */
export interface Mutant {
  /** What is gone. */
  readonly name: string
  readonly file: string
  /** Stands in the file once. */
  readonly from: string
  readonly to: string
  /** Each of these files has a test that fails then. */
  readonly noticedBy: readonly string[]
}

const TRANSPORT = 'test/advisories/transport.test.ts'
const CALLERS = 'test/advisories/callers.test.ts'

/** A control taken out of the way of a request: its line in `app.ts` is gone. */
function without(line: string, ...noticedBy: readonly string[]): Mutant {
  const [name = ''] = line.split('(')
  return { name: `no ${name}`, file: 'src/app.ts', from: `  app.use(${line})\n`, to: '', noticedBy }
}

export const MUTANTS: readonly Mutant[] = [
  without('requestId(parts.clientAddress)', 'test/controls/request-id.test.ts'),
  without('securityHeaders(parts)', 'test/controls/security-headers.test.ts'),
  without('audit(trail)', 'test/controls/audit.test.ts'),
  without('wireGuard(limits)', 'test/controls/wire-guard.test.ts', TRANSPORT),
  without('overload(parts.load)', 'test/controls/overload.test.ts'),
  without('addressLimit(store, limits, isKnown)', 'test/controls/address-limit.test.ts'),
  without('hostGuard(parts.allowedHosts)', 'test/controls/host-guard.test.ts', TRANSPORT),
  without('originGuard(parts.allowedOrigin)', 'test/controls/origin-guard.test.ts', TRANSPORT),
  without('cors(headersForOrigin, parts.preflight)', 'test/controls/cors.test.ts', TRANSPORT),
  without('route(parts.routes)', 'test/controls/route.test.ts', TRANSPORT),
  without(
    'authenticate({ ...credentials, store, limits, trail })',
    'test/controls/authenticate.test.ts',
    CALLERS,
  ),
  without('credentialWatch(parts.holds)', 'test/controls/credential-watch.test.ts'),
  without('principalLimit(store, limits, slotsOf)', 'test/controls/principal-limit.test.ts'),
  without('parseMessage(limits)', 'test/controls/parse-message.test.ts', TRANSPORT),
  without('principalCalls(limits, slotsOf)', 'test/controls/principal-calls.test.ts'),
  without('protocolGuard(parts.protocol)', 'test/controls/protocol-guard.test.ts'),
  without('authorize({ ...access, trail })', 'test/controls/authorize.test.ts'),
  without('callLimit(store, limits, access.rules, slotsOf)', 'test/controls/call-limit.test.ts'),
  {
    name: 'session-guard: the id of a session is enough',
    file: 'src/mcp/sessions/registry.ts',
    from: 'found?.owner === owner && found.session.path === path',
    to: 'found?.session.path === path',
    noticedBy: ['test/controls/session-guard.test.ts'],
  },
  {
    name: 'task-guard: tasks for clients that cannot follow them',
    file: 'src/controls/task-guard.ts',
    from: '    if (needsTasks(message) && !canFollow) throw missingCapability()\n',
    to: '',
    noticedBy: ['test/controls/task-guard.test.ts'],
  },
  {
    name: 'any origin is reflected',
    file: 'src/controls/cors.ts',
    from: '|| !isAllowed(origin)',
    to: '',
    noticedBy: [TRANSPORT, 'test/controls/cors.test.ts'],
  },
  {
    name: 'a second writer of CORS headers',
    file: 'src/controls/security-headers.ts',
    from: "  'x-content-type-options': 'nosniff',\n",
    to: "  'x-content-type-options': 'nosniff',\n  'access-control-allow-origin': '*',\n",
    noticedBy: [TRANSPORT],
  },
  {
    name: 'any media type',
    file: 'src/controls/parse-message.ts',
    from: "    throw new Denied('parse-message.media-type')",
    to: '',
    noticedBy: [TRANSPORT],
  },
  {
    name: 'no bound for bodies in chunks',
    file: 'src/controls/parse-message.ts',
    from: 'if (received <= maxBytes) {',
    to: 'if (received <= Infinity) {',
    noticedBy: [TRANSPORT],
  },
  {
    name: 'a declared length is believed to be small',
    file: 'src/controls/parse-message.ts',
    from: "  if (Number(single(headers, 'content-length')) > maxBytes) throw tooLarge()\n",
    to: '',
    noticedBy: ['test/controls/parse-message.test.ts'],
  },
  {
    name: 'JSON without a scan',
    file: 'src/controls/parse-message.ts',
    from: '  if (fault !== undefined) throw',
    to: '  if (fault === null) throw',
    noticedBy: [TRANSPORT],
  },
  {
    name: 'the first caller stands for all',
    file: 'src/mcp/handler.ts',
    from: 'const left = requestInfo && requests.get(requestInfo)',
    to: 'const left = (globalThis.first ??= requestInfo && requests.get(requestInfo))',
    noticedBy: [TRANSPORT, 'test/mcp/leaks.test.ts'],
  },
  {
    name: 'upgrades are answered by the app',
    file: 'src/listen.ts',
    from: "'listen.upgrade'",
    to: "'route.not-found'",
    noticedBy: [TRANSPORT],
  },
  {
    name: 'as many headers as Node lets through',
    file: 'src/controls/wire-guard.ts',
    from: "    if (rawHeaders.length / 2 > count) throw new Denied('wire-guard.too-many-headers')\n",
    to: '',
    noticedBy: [TRANSPORT, 'test/controls/wire-guard.test.ts'],
  },
  {
    name: 'a token chooses its algorithm',
    file: 'src/auth/access-token.ts',
    from: "  if (!rules.algorithms.some((name) => name === header.alg)) throw new CredentialFault('algorithm')\n",
    to: '',
    noticedBy: [CALLERS],
  },
  {
    name: 'owners without their issuer',
    file: 'src/owner-key.ts',
    from: 'digestOf([kind, issuer, subject])',
    to: 'digestOf([kind, subject])',
    noticedBy: [CALLERS, 'test/owner-key.test.ts'],
  },
  {
    name: 'owners without their client',
    file: 'src/owner-key.ts',
    from: 'digestOf([kind, issuer, client, subject])',
    to: 'digestOf([kind, issuer, subject])',
    noticedBy: [CALLERS, 'test/owner-key.test.ts'],
  },
  {
    name: 'ids from Math.random',
    file: 'src/resources/report.ts',
    from: "randomBytes(16).toString('base64url')",
    to: "Math.random().toString(36).padEnd(22, 'a').slice(0, 22)",
    noticedBy: [CALLERS],
  },
  {
    name: 'templates of any form',
    file: 'src/access/rules.ts',
    from: '  if (!URI_TEMPLATE.test(name)) {',
    to: '  if (name === undefined) {',
    noticedBy: [CALLERS],
  },
  {
    name: 'variables that backtrack',
    file: 'src/access/target.ts',
    from: ".join('([^/?#]+)')",
    to: ".join('(([^/?#]+)*)+')",
    noticedBy: [CALLERS],
  },
  {
    name: 'private addresses are asked',
    file: 'src/outbound.ts',
    from: "    if (isIP(host) !== 0 && !mayConnect(host)) throw new OutboundError('address')\n",
    to: '',
    noticedBy: ['test/outbound.test.ts'],
  },
  {
    name: 'names of private addresses are asked',
    file: 'src/outbound.ts',
    from: '!addresses.every(({ address }) => mayConnect(address))',
    to: 'false',
    noticedBy: ['test/outbound.test.ts'],
  },
  {
    name: 'tools send requests anywhere',
    file: 'src/egress.ts',
    from: 'destinations.find((one) => isAllowed(one, url, checked.method))',
    to: 'destinations[0]',
    noticedBy: ['test/egress.test.ts'],
  },
  {
    name: 'tools send requests below any path that readers take for another',
    file: 'src/egress.ts',
    from: "  if (!isPlainPath(url.pathname)) throw new EgressError('bad-request')\n",
    to: '',
    noticedBy: ['test/egress.test.ts'],
  },
  {
    name: 'tools choose the credential that is sent',
    file: 'src/egress.ts',
    from: '{ ...sent.headers, ...to.credential }',
    to: '{ ...to.credential, ...sent.headers }',
    noticedBy: ['test/egress.test.ts'],
  },
  {
    name: 'redirects take headers to other hosts',
    file: 'src/egress.ts',
    from: 'next.origin === url.origin ? sent : { ...sent, headers: {} }',
    to: 'sent',
    noticedBy: ['test/egress.test.ts'],
  },
  {
    name: 'a server that nobody can authenticate to starts',
    file: 'src/assemble.ts',
    from: '  if (ways.length === 0 && anonymous === undefined) throw new Problems([NO_WAY_IN])\n',
    to: '',
    noticedBy: [CALLERS],
  },
  {
    name: 'anonymous in production',
    file: 'src/config-checks.ts',
    from: "  refuse(anonymous && production, 'MCP_DANGEROUSLY_ALLOW_ANONYMOUS', 'is only for development')\n",
    to: '',
    noticedBy: [CALLERS, 'test/config.test.ts'],
  },
  {
    name: 'an absent audience will do',
    file: 'src/auth/access-token.ts',
    from: 'audience: [...rules.audiences],',
    to: '',
    noticedBy: ['test/identity/claims.test.ts'],
  },
  {
    name: 'a broken sink does not matter',
    file: 'src/audit/audit-trail.ts',
    from: "const refuses = policy.onSinkFailure === 'refuse'",
    to: 'const refuses = false',
    noticedBy: ['test/audit/audit-trail.test.ts'],
  },
  {
    name: 'records that are not linked',
    file: 'src/audit/chain.ts',
    from: 'chain: { writer, key: key.id, prev }',
    to: 'chain: { writer, key: key.id, prev: START }',
    noticedBy: ['test/audit/chain.test.ts'],
  },
]
