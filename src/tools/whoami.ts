import { z } from 'zod'
import { defineTool } from '../define.ts'

/** No name of a caller is longer than the credential it came in, and that ends at 8 KiB. */
const name = z.string().max(8192)
const names = z.array(name).max(8192)

export const whoami = defineTool({
  name: 'whoami',
  title: 'Who am I',
  description:
    'Tells callers how the server sees them: who proved their identity, and their rights.',
  annotations: { readOnlyHint: true, idempotentHint: true, openWorldHint: false },
  input: z.strictObject({}),
  output: z.strictObject({
    kind: z.enum(['oauth', 'api-key', 'anonymous', 'local']).describe('How the caller was proved.'),
    issuer: name.describe('Who vouches for the caller.'),
    client: name.describe('The OAuth client in use; empty for API keys.'),
    subject: name.describe('The caller, unique for its issuer.'),
    scopes: names.describe('What the credential is good for.'),
    roles: names.describe('Roles of the caller.'),
    tenant: name.nullable().describe('Organisation of the caller, if there is one.'),
  }),
  longRunning: false,

  async run(_input, { principal }) {
    const { kind, issuer, client, subject, scopes, roles, tenant } = principal
    return { kind, issuer, client, subject, scopes: [...scopes], roles: [...roles], tenant }
  },
})
