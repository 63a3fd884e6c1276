import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Catalog } from '../../define.ts'
import { isLoopbackAddress } from '../../networks.ts'
import { keyWarnings } from './key-warnings.ts' // optional: api-key
import { rulesOf } from './posture.ts'
import { sseWarnings } from './sse-warnings.ts' // optional: legacy-sse
import type { Startable } from './start-checks.ts'

export type Severity = 'high' | 'medium' | 'low'

/** Something that starts, and that a reviewer would ask about. */
export interface Warning {
  readonly severity: Severity
  /** Name of the setting or policy. */
  readonly field: string
  readonly message: string
  readonly advice: string
}

const RANK: readonly Severity[] = ['high', 'medium', 'low']

/** The worst first; within a severity in the order of settings, then policies. */
export function warningsOf(
  started: Startable,
  catalog: Catalog,
  nowMs: number,
): readonly Warning[] {
  const found = [
    ...settingsWarnings(started),
    ...fileWarnings(started, nowMs),
    ...keyWarnings(started, nowMs), // optional: api-key
    ...issuerWarnings(started),
    ...accessWarnings(started, catalog),
    ...policyWarnings(started),
    ...egressWarnings(started),
    ...sseWarnings(started), // optional: legacy-sse
  ]
  return RANK.flatMap((severity) => found.filter((warning) => warning.severity === severity))
}

function warning(
  severity: Severity,
  field: string,
  message: string,
  advice: string,
): readonly [Warning] {
  return [{ severity, field, message, advice }]
}

function* settingsWarnings({ config }: Startable): Generator<Warning> {
  if (config.anonymous) {
    yield* warning(
      'high',
      'MCP_DANGEROUSLY_ALLOW_ANONYMOUS',
      'nobody has to authenticate',
      'unset it',
    )
  }
  if (config.mode === 'development') {
    yield* warning(
      'high',
      'NODE_ENV',
      'is development: pages of this machine may call',
      'leave it out where others use this server',
    )
  }
  if (config.adminHost !== 'localhost' && !isLoopbackAddress(config.adminHost)) {
    yield* warning(
      'medium',
      'ADMIN_HOST',
      'probes and metrics are reachable from other machines, without authentication',
      'let only the platform reach that port (deploy/kubernetes has a NetworkPolicy)',
    )
  }
  if (config.secrets.length > 2) {
    yield* warning(
      'low',
      'MCP_SECRET',
      `${config.secrets.length} secrets verify`,
      'drop the ones before the last rotation',
    )
  }
  if (config.trustedProxies.some((cidr) => Number(cidr.split('/')[1]) < 16)) {
    yield* warning(
      'medium',
      'MCP_TRUSTED_PROXIES',
      'trusts a network of more than 65,536 addresses',
      'name the addresses of the proxies',
    )
  }
  if (config.auditSigningKeyFile === undefined) {
    yield* warning(
      'medium',
      'MCP_AUDIT_SIGNING_KEY_FILE',
      'checkpoints are not signed: only the holder of the MAC key can verify the trail',
      'make a key: openssl genpkey -algorithm ed25519',
    )
  }
  if (config.denyListFile === undefined) {
    yield* warning(
      'low',
      'MCP_DENY_LIST_FILE',
      'a single token cannot be revoked before it expires',
      'name a file; it may be empty: {"jti":[],"subjects":[]}',
    )
  }
}

const SOON_MS = 14 * 86_400_000

/** Files that hold secrets: who else may read them; and certificates that end. */
function* fileWarnings({ config }: Startable, nowMs: number): Generator<Warning> {
  const secret = [
    ['MCP_API_KEYS_FILE', config.apiKeysFile],
    ['MCP_TLS_KEY_FILE', config.tls?.keyFile],
    ['MCP_AUDIT_SIGNING_KEY_FILE', config.auditSigningKeyFile],
  ] as const
  for (const [field, path] of secret) {
    if (path !== undefined && (statSync(path).mode & 0o007) !== 0) {
      yield* warning('high', field, 'every user of this machine may use the file', 'chmod 600')
    }
  }
  if (config.tls === undefined) return
  const endsMs = Date.parse(new X509Certificate(readFileSync(config.tls.certFile)).validTo)
  if (endsMs < nowMs) {
    yield* warning(
      'high',
      'MCP_TLS_CERT_FILE',
      'the certificate has expired',
      'renew it; SIGHUP reads it again',
    )
  } else if (endsMs < nowMs + SOON_MS) {
    yield* warning(
      'medium',
      'MCP_TLS_CERT_FILE',
      'the certificate expires within 14 days',
      'renew it; SIGHUP reads it again',
    )
  }
}

function* issuerWarnings({ policies }: Startable): Generator<Warning> {
  for (const [index, issuer] of policies.auth.issuers.entries()) {
    const field = `auth.yaml issuers.${index}`
    if (issuer.senderConstraint === 'none') {
      yield* warning(
        'low',
        `${field}.senderConstraint`,
        'whoever steals a token can use it',
        'ask for dpop or mtls where clients can do it',
      )
    }
    if (issuer.tokenTypes.some((type) => type.toLowerCase() !== 'at+jwt')) {
      yield* warning(
        'medium',
        `${field}.tokenTypes`,
        'JWTs that are not marked as access tokens are taken',
        'let the issuer write typ: at+jwt (RFC 9068)',
      )
    }
    if (issuer.maxTokenLifetimeSeconds > 86_400) {
      yield* warning(
        'medium',
        `${field}.maxTokenLifetimeSeconds`,
        'a token may live for more than a day',
        'an hour is usual',
      )
    }
  }
}

function* accessWarnings({ policies, rules }: Startable, catalog: Catalog): Generator<Warning> {
  const destructive = new Set(
    catalog.tools.filter((tool) => tool.annotations.destructiveHint).map(({ name }) => name),
  )
  for (const { kind, name, scopes, condition } of rulesOf(rules)) {
    if (kind !== 'tool' || !destructive.has(name) || condition !== undefined) continue
    if (scopes.some((scope) => scope !== policies.auth.baseScope)) continue
    yield* warning(
      'high',
      `access.yaml tools.${name}.scopes`,
      'a destructive tool is open to everybody who can authenticate',
      'give it a scope of its own',
    )
  }
}

function* egressWarnings({ policies }: Startable): Generator<Warning> {
  for (const [tool, destinations] of Object.entries(policies.egress.tools)) {
    for (const [index, destination] of destinations.entries()) {
      const field = `egress.yaml tools.${tool}.${index}`
      if (destination.private) {
        yield* warning(
          'medium',
          `${field}.private`,
          'a tool reaches addresses of private networks',
          'only where the service has no public address',
        )
      }
      const file = destination.credential?.file
      if (file !== undefined && (statSync(file).mode & 0o007) !== 0) {
        yield* warning(
          'high',
          `${field}.credential.file`,
          'every user of this machine may use the file',
          'chmod 600',
        )
      }
    }
  }
}

function* policyWarnings({ config, policies }: Startable): Generator<Warning> {
  const { http, limits, audit } = policies
  if (audit.onSinkFailure === 'continue') {
    yield* warning(
      'high',
      'audit.yaml onSinkFailure',
      'tools run unaudited while the trail cannot be written',
      'refuse',
    )
  }
  const plain = http.origins.filter(({ value }) => value.startsWith('http:'))
  if (plain.length > 0) {
    yield* warning(
      'medium',
      'http.yaml origins',
      'a page that came without TLS may call',
      'https origins only',
    )
  }
  if (config.mode === 'production' && limits.onStoreFailure === 'refuse') {
    yield* warning(
      'low',
      'limits.yaml onStoreFailure',
      'every call is refused while the store is away',
      'insurance counts in memory meanwhile',
    )
  }
}
