import { z } from 'zod'
import { egressPolicy } from '../../policy-egress.ts'
import { httpPolicy } from '../../policy-http.ts'
import { accessPolicy, auditPolicy, authPolicy, limitsPolicy } from '../../policy-schemas.ts'

/**
 * JSON Schemas of the policy files, so that editors complete and check them. They say less than the
 * server checks: `npm run policy -- check` has the last word.
 */
export const POLICY_SCHEMAS: ReadonlyMap<string, z.ZodType> = new Map<string, z.ZodType>([
  ['access', accessPolicy],
  ['audit', auditPolicy],
  ['auth', authPolicy('production')],
  ['egress', egressPolicy('production')],
  ['http', httpPolicy],
  ['limits', limitsPolicy],
])

/** @returns the text of the schema of one policy file */
export function policySchema(name: string, schema: z.ZodType): string {
  const json = z.toJSONSchema(schema, { target: 'draft-07', io: 'input', unrepresentable: 'any' })
  return `${JSON.stringify({ title: `policies/${name}.yaml`, ...json }, null, 2)}\n`
}
