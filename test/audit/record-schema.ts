import { z } from 'zod'
import type { AuditEvent } from '../../src/audit/trail.ts'
import type { Fault } from '../../src/auth/strategy.ts'
import {
  apiCall,
  chain,
  cleaned,
  controlled,
  count,
  decided,
  duration,
  endpoint,
  head,
  hex,
  nobody,
  number,
  one,
  policyOf,
  predecessor,
  product,
  proven,
  refusal,
  refusals,
  repeated,
  service,
  text,
  word,
} from './record-attributes.ts'

/**
 * Every record that the trail can hold, closed: what is not here is in none of them. Published as
 * `docs/audit-event.schema.json` and as the tables of `docs/audit-log.md`. To write both anew:
 * `npx vitest run test/audit/schema.test.ts test/docs/audit-log.test.ts --update`
 */

/** Why a credential was rejected: `status_code` of `authn.fail`. */
export const CAUSES = {
  shape: 'not a credential of any kind that is accepted',
  checksum: 'an API key with a typing error',
  unknown: 'an API key or a signing key that nobody knows',
  revoked: 'an API key that was revoked in the key file',
  expired: 'past its end',
  'not-yet-valid': 'before its beginning',
  address: 'an API key used from a network that it is not bound to',
  issuer: 'a token of an issuer that the policy does not name',
  audience: 'a token for another server',
  algorithm: 'a signature algorithm that the policy does not name',
  type: 'a JWT that is no access token',
  signature: 'a signature that does not verify',
  lifetime: 'a token that lives longer than the policy allows',
  claims: 'a claim that is missing or malformed',
  'sender-constrained': 'a bound token sent as a bearer token, or the reverse',
  certificate: 'a token bound to another client certificate',
  proof: 'a DPoP proof that does not verify',
  nonce: 'a DPoP proof with a nonce that is too old, or not of this server',
  replay: 'a DPoP proof that was used before',
  inactive: 'the issuer says that the token is not active',
  denied: 'on the deny list',
  unavailable: 'nobody could tell: the way to the issuer was down',
} as const satisfies Readonly<Record<Fault | 'unavailable', string>>

/** Profiles of OCSF that the attributes come from. */
const NO_PROFILE = z.array(z.never()).length(0)
const CONTROL = z.tuple([z.literal('security_control')])
const TRACE = z.tuple([z.literal('trace')])
const CONTROL_AND_TRACE = z.tuple([z.literal('security_control'), z.literal('trace')])

interface Parts {
  readonly of: 'request' | 'process'
  readonly class: 0 | 3002 | 6002 | 6003
  readonly activities: readonly [number, ...number[]]
  readonly severities: readonly [number, ...number[]]
  readonly profiles: z.ZodType
  readonly attributes: z.ZodRawShape
  readonly unmapped?: z.ZodRawShape
}

function record(code: AuditEvent['event'], meaning: string, parts: Parts): z.ZodType {
  const { activities, class: uid } = parts
  const activityName = z.literal(code).describe('The event code again, where `activity_id` is 99.')
  return z
    .strictObject({
      metadata: z.strictObject({
        uid: z
          .string()
          .regex(/^[0-9a-f]{16}-[1-9][0-9]{0,14}$/)
          .describe('Writer, hyphen, number: unique.'),
        sequence: one('Number of the record: 1, 2, 3 … of each writer, without a gap.'),
        version: z.literal('1.8.0').describe('Of OCSF.'),
        event_code: z.literal(code).describe('The event.'),
        profiles: parts.profiles.describe('Profiles of OCSF in use.'),
        product,
        ...(parts.of === 'request' && {
          correlation_uid: z.uuid().describe('Id of the request: the same in all its records.'),
          tenant_uid: text('Tenant of the caller.').optional(),
        }),
      }),
      time: count('When the record was made: ms since the epoch, UTC.'),
      category_uid: number([Math.floor(uid / 1000)], 'Category of OCSF.'),
      class_uid: number([uid], 'Class of OCSF.'),
      activity_id: number(activities, 'Activity of the class; 99 other.'),
      ...(activities.includes(99) && {
        activity_name: activities.length === 1 ? activityName : activityName.optional(),
      }),
      type_uid: z
        .literal(activities.map((activity) => uid * 100 + activity))
        .describe('`class_uid` × 100 + `activity_id`.'),
      severity_id: number(parts.severities, '1 informational; 2 low; 3 medium; 4 high.'),
      ...parts.attributes,
      unmapped: z.strictObject({
        ...parts.unmapped,
        dropped: one('Records lost to full queues since the record before.').optional(),
        predecessor: predecessor.optional(),
        chain,
      }),
    })
    .meta({ id: code, description: meaning })
}

const status = <const Values extends readonly [number, ...number[]]>(...values: Values) => ({
  status_id: number(values, '1 success; 2 failure; 99 see `status`.'),
})

const operation = {
  rpc_id: z
    .union([cleaned, z.number()])
    .describe('`id` of the JSON-RPC message: chosen by the caller.')
    .optional(),
  era: word(['modern', 'legacy'], 'Revision of the protocol: 2026-07-28, or an earlier one.'),
  args_hmac: hex(64, 'HMAC-SHA256 over the arguments as canonical JSON (RFC 8785).'),
  args_bytes: count('Size of that JSON.'),
}
/** The operation names exactly one target. */
const operationOf = (more: z.ZodRawShape) =>
  z.union([
    z.strictObject({ tool: text('Name of the tool.'), ...operation, ...more }),
    z.strictObject({ resource: text('Template of the resource.'), ...operation, ...more }),
    z.strictObject({ prompt: text('Name of the prompt.'), ...operation, ...more }),
  ])

const digests = (of: string) =>
  z.strictObject({
    policies: hex(64, `SHA-256 of the policies ${of}.`),
    files: hex(64, `SHA-256 of the files of keys, denials and certificates ${of}.`),
  })
const reload = (code: 'policy.reload' | 'keys.reload', meaning: string) =>
  record(code, meaning, {
    of: 'process',
    class: 0,
    activities: [99],
    severities: [1, 3],
    profiles: NO_PROFILE,
    attributes: {
      ...status(1, 2),
      status_code: word(['applied', 'refused'], 'Refused: nothing of it is in force.'),
    },
    unmapped: {
      reload: z.strictObject({ from: digests('before'), to: digests('after').optional() }),
    },
  })

const covered = {
  head: z.strictObject(head).describe('The record before the checkpoint.'),
  count: one('Lines under `digest`.'),
  digest: hex(64, 'SHA-256 over the lines since the checkpoint before, that one included.'),
}

/** One for each event code. */
export const RECORDS: Readonly<Record<AuditEvent['event'], z.ZodType>> = {
  request: record(
    'request',
    'One for every request, when its answer has ended, however it ended.',
    {
      of: 'request',
      class: 6003,
      activities: [2, 99],
      severities: [1, 2, 3],
      profiles: CONTROL_AND_TRACE,
      attributes: {
        ...repeated,
        duration,
        ...status(1, 2),
        status_code: z
          .string()
          .regex(/^[1-5][0-9]{2}$/)
          .describe('HTTP status; 499 when the client left before there was one.'),
        status_detail: refusal,
        ...controlled([0, 1, 2], [1, 2, 27]),
        ...apiCall(),
        http_request: z.strictObject({
          http_method: word(
            ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'],
            'HTTP method, when it is one of these.',
          ).optional(),
          url: z.strictObject({ path: text('Path, without query.') }),
        }),
        http_response: z.strictObject({
          code: z.int().min(100).max(599).describe('HTTP status, as in `status_code`.'),
        }),
      },
      unmapped: { http_method: text('HTTP method, when OCSF has no name for it.').optional() },
    },
  ),
  decision: record(
    'decision',
    'Before each use of a tool, resource or prompt: whether it may run. Nothing runs before it is written.',
    {
      of: 'request',
      class: 6003,
      activities: [2, 99],
      severities: [1, 2],
      profiles: CONTROL_AND_TRACE,
      attributes: {
        ...status(1, 2),
        status_detail: refusal,
        ...controlled([1, 2], [1, 2, 26]),
        policy: policyOf(text('Section and entry of `access.yaml` that decided.')),
        ...apiCall(decided),
      },
      unmapped: { mcp: operationOf({}) },
    },
  ),
  outcome: record('outcome', 'After each use that was allowed: how it ended.', {
    of: 'request',
    class: 6003,
    activities: [2, 99],
    severities: [1, 2],
    profiles: TRACE,
    attributes: {
      duration,
      ...status(1, 2, 99),
      status: z.literal('asked').describe('Where `status_id` is 99.').optional(),
      status_code: word(
        ['ok', 'failed', 'cancelled', 'timed-out', 'shut-down', 'revoked', 'asked', 'not-run'],
        'How it ended. `asked`: the caller has to confirm first; `not-run`: it never began.',
      ),
      ...apiCall(z.strictObject(proven)),
    },
    unmapped: {
      mcp: operationOf({
        result_sha256: hex(64, 'SHA-256 of the result as it was sent.').optional(),
        is_error: z.boolean().describe('Whether the caller got an error.'),
        progress_count: count('Progress notifications that were sent.'),
      }),
    },
  }),
  egress: record('egress', 'A request that a tool sent to another service, or was not let send.', {
    of: 'request',
    class: 6003,
    activities: [99],
    severities: [1, 2, 3],
    profiles: CONTROL_AND_TRACE,
    attributes: {
      duration,
      ...status(1, 2),
      status_code: word(
        [
          ...(['ok', 'not-allowed', 'bad-request', 'too-large-request', 'too-many'] as const),
          ...(['redirect', 'address', 'network', 'timeout', 'encoding', 'too-large'] as const),
          'cancelled',
        ],
        'What came of it. `not-allowed`: policy lists no such destination for the tool.',
      ),
      ...controlled([0, 1, 2], [1, 2, 27]),
      policy: policyOf(text('Entry of `policies/egress.yaml`, after `egress/`.')),
      ...apiCall(z.strictObject(proven)),
    },
    unmapped: {
      mcp: operationOf({}),
      egress: z.strictObject({
        origin: text('Origin, as policy lists it; absent when it lists none.').optional(),
        http_method: text('HTTP method; absent for `bad-request` and `too-many`.').optional(),
        http_status: z.int().min(100).max(999).describe('HTTP status of the answer.').optional(),
        sent_bytes: count('Body of the request, bytes.'),
        received_bytes: count('Body of the answer, bytes.'),
      }),
    },
  }),
  'authn.fail': record('authn.fail', 'A credential that was rejected, or could not be verified.', {
    of: 'request',
    class: 3002,
    activities: [1],
    severities: [2],
    profiles: CONTROL,
    attributes: {
      ...repeated,
      ...status(2),
      status_code: z.enum(Object.keys(CAUSES)).describe('Why the credential was rejected.'),
      status_detail: refusals,
      ...controlled([2], [2]),
      user: nobody,
      service,
      src_endpoint: endpoint,
      is_remote: z.literal(true).describe('Over the network.'),
    },
  }),
  throttle: record('throttle', 'A request over a limit; it has a `request` record, too.', {
    of: 'request',
    class: 6003,
    activities: [99],
    severities: [2],
    profiles: CONTROL_AND_TRACE,
    attributes: {
      ...repeated,
      ...status(2),
      status_detail: refusals,
      ...controlled([2], [2]),
      policy: policyOf(
        word(
          ['limits/address', 'limits/address-auth', 'limits/principal', 'limits/tool'],
          'The limit.',
        ),
      ),
      ...apiCall(),
    },
  }),
  'server.start': record('server.start', 'The process begins to serve.', {
    of: 'process',
    class: 6002,
    activities: [3],
    severities: [1],
    profiles: CONTROL,
    attributes: {
      ...status(1),
      policy: policyOf(z.literal('policies').describe('All of them.')),
      app: product,
    },
    unmapped: {
      server: z.strictObject({
        settings_digest: hex(64, 'SHA-256 of the settings, secrets left out.'),
        tools_digest: hex(64, 'SHA-256 of names, descriptions and schemas of the tools.'),
        node_version: text('Version of Node.'),
      }),
    },
  }),
  'server.stop': record('server.stop', 'The process has drained and ends.', {
    of: 'process',
    class: 6002,
    activities: [4],
    severities: [1, 4],
    profiles: NO_PROFILE,
    attributes: {
      ...status(1),
      status_code: word(['signal', 'crash'], 'Why the process ends.'),
      app: product,
    },
  }),
  fault: record('fault', 'An error that nothing in the program handled.', {
    of: 'process',
    class: 0,
    activities: [99],
    severities: [4],
    profiles: NO_PROFILE,
    attributes: {
      ...status(2),
      status_code: word(
        ['unhandled-rejection', 'uncaught-exception'],
        'The second ends the process.',
      ),
    },
  }),
  'audit.checkpoint': record(
    'audit.checkpoint',
    'After so many records or seconds (`policies/audit.yaml`), and at the end.',
    {
      of: 'process',
      class: 0,
      activities: [99],
      severities: [1],
      profiles: NO_PROFILE,
      attributes: status(1),
      unmapped: {
        checkpoint: z.union([
          z.strictObject(covered),
          z.strictObject({
            ...covered,
            signer: hex(16, 'Id of the signing key: first 8 bytes of the SHA-256 of its SPKI DER.'),
            signature: z
              .string()
              .regex(/^[A-Za-z0-9+/]{86}==$/)
              .describe('Ed25519, Base64.'),
          }),
        ]),
      },
    },
  ),
  'jwks.change': record('jwks.change', 'The keys of an issuer are others than before.', {
    of: 'process',
    class: 0,
    activities: [99],
    severities: [1],
    profiles: NO_PROFILE,
    attributes: status(1),
    unmapped: {
      jwks: z.strictObject({
        issuer: text('Issuer.'),
        key_ids: z.array(cleaned).max(32).describe('Ids of its keys, 32 at most.'),
      }),
    },
  }),
  'policy.reload': reload('policy.reload', 'Policies, keys and denials were read again (SIGHUP).'),
  'keys.reload': reload('keys.reload', 'A file of keys, denials or certificates has changed.'),
}
