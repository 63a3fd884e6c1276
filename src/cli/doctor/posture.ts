import type { Rule } from '../../access/rules.ts'
import { allowedHosts } from '../../development.ts'
import { boundUrl } from '../../urls.ts'
import type { Startable } from './start-checks.ts'

/** What a server with these settings and policies is, in words. One section a heading. */
export type Posture = Readonly<Record<string, readonly string[]>>

/** The effective posture. It names settings and what policies allow; never a secret or a path. */
export function postureOf({ config, policies, rules }: Startable): Posture {
  const { http, auth, limits, audit, egress } = policies
  const tls = config.tls !== undefined
  const bound = boundUrl(config.host, config.port, tls)
  const publicUrl = config.publicUrl ?? `${bound}/mcp`
  const hosts = allowedHosts(config.mode, { publicUrl, bound }, http.hosts)
  return {
    listens: [
      `${config.mode}, ${bound}`,
      `public URL ${publicUrl}`,
      tls ? 'TLS in this process' : 'no TLS in this process',
      ...(config.tls?.clientCaFile === undefined ? [] : ['client certificates are required']),
      config.trustedProxies.length === 0
        ? 'no proxy is trusted: the TCP peer is the client'
        : `X-Forwarded-For is read from ${config.trustedProxies.join(', ')}`,
      `probes on ${boundUrl(config.adminHost, config.adminPort, false)}`,
    ],
    'hosts and origins': [
      `hosts: ${hosts.join(', ')}`,
      http.origins.length === 0
        ? 'origins: none: no web page may call'
        : `origins: ${http.origins.map(({ value }) => value).join(', ')}`,
      ...(config.mode === 'development' ? ['and pages of this machine (development)'] : []),
    ],
    'who can authenticate': whoCan(config, auth),
    'what anyone with the base scope may use': anyone(rules, auth.baseScope),
    protocol: [
      `2025 revisions: ${http.protocol.legacy}`,
      `HTTP+SSE: ${http.protocol.httpSse}`, // optional: legacy-sse
    ],
    limits: [
      `${limits.connections} connections, ${limits.streams} streams, ${limits.address.connections} connections an address`,
      `${limits.address.requestsPerMinute} requests a minute an address, ${limits.principal.requestsPerMinute} a principal`,
      `${limits.address.authFailuresPerMinute} failed logins a minute an address`,
      `bodies of ${limits.body.bytes} bytes, results of ${limits.result.bytes}`,
      `when the store fails: ${limits.onStoreFailure}`,
    ],
    'where tools may send requests': destinations(egress),
    audit: [
      config.auditFile === undefined ? 'to standard output' : 'to the file in MCP_AUDIT_FILE',
      config.auditSigningKeyFile === undefined
        ? 'checkpoints are not signed'
        : 'checkpoints are signed',
      `principals ${audit.principal}; when it cannot be written: ${audit.onSinkFailure}`,
    ],
  }
}

function whoCan(
  { mode, anonymous, apiKeysFile }: Startable['config'],
  { apiKeys, issuers }: Startable['policies']['auth'],
): readonly string[] {
  const header = apiKeys.header === null ? '' : `, or in ${apiKeys.header}`
  const keys = [
    ...(mode === 'development' && !anonymous ? ['the API key that each start prints'] : []),
    ...(apiKeysFile === undefined
      ? []
      : [`API keys as Bearer${header}, for at most ${apiKeys.maxLifetimeDays} days`]),
  ]
  return [
    ...(anonymous ? ['EVERYBODY, without any credential'] : []),
    ...(apiKeys.enabled && keys.length > 0 ? keys : ['no API keys']),
    ...issuers.map(
      ({ issuer, verification, audiences, algorithms, tokenTypes, senderConstraint }) =>
        `tokens of ${issuer}: ${verification}, audiences ${audiences?.join(', ') ?? 'the public URL'}, ` +
        `${algorithms.join(' ')}, types ${tokenTypes.join(' ')}, sender constraint ${senderConstraint}`,
    ),
  ]
}

function anyone(rules: Startable['rules'], baseScope: string): readonly string[] {
  const open = rulesOf(rules).filter(({ scopes }) => scopes.every((scope) => scope === baseScope))
  if (open.length === 0) return ['nothing']
  return open.map(({ kind, name, condition }) =>
    condition === undefined ? `${kind} ${name}` : `${kind} ${name}, on a condition`,
  )
}

function destinations({ tools }: Startable['policies']['egress']): readonly string[] {
  const all = Object.entries(tools).flatMap(([tool, list]) =>
    list.map(
      ({ origin, methods, paths, credential }) =>
        `tool ${tool}: ${methods.join(' ')} ${origin} ${paths.join(' ')}` +
        (credential === undefined ? '' : `, with a credential in ${credential.header}`),
    ),
  )
  return all.length === 0 ? ['nowhere'] : all
}

/** All rules, in the order of the catalog. */
export function rulesOf({ tools, resources, prompts }: Startable['rules']): readonly Rule[] {
  return [...tools.values(), ...resources.values(), ...prompts.values()]
}
