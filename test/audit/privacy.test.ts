import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { daysFromNow, keyFile } from '../key-file.ts'
import { type AuditRecord, type Server, startServer, stopServers } from '../server.ts'

afterEach(stopServers)

/** Sends a call with these arguments. @returns their digest as the decision has it */
async function digestOf(server: Server, args: object): Promise<string> {
  const response = await server.call('process_documents', args)
  await response.text()
  const id = response.headers.get('x-request-id')
  const decision = await server.recorded(
    ({ metadata }) => metadata.event_code === 'decision' && metadata.correlation_uid === id,
  )
  return decision.unmapped.mcp.args_hmac
}

describe('threat: arguments in the trail, whoever reads the log reads or guesses them', () => {
  it('has a digest that equals for equal arguments and tells nothing without the secret', async () => {
    const env = { MCP_SECRET: randomBytes(32).toString('base64') }
    const [one, other] = await Promise.all([startServer({ env }), startServer()])
    const digest = await digestOf(one, { documents: [{ name: 'a', text: 'canary-b' }] })
    expect(digest).toMatch(/^[0-9a-f]{64}$/)
    expect(await digestOf(one, { documents: [{ text: 'canary-b', name: 'a' }] })).toBe(digest)
    expect(await digestOf(one, { documents: [{ name: 'a', text: 'canary-c' }] })).not.toBe(digest)
    expect(await digestOf(other, { documents: [{ name: 'a', text: 'canary-b' }] })).not.toBe(digest)
  })
})

describe('threat: names in the trail, whoever reads the log knows who did what', () => {
  async function trailOf(principal: string): Promise<{ server: Server; keyId: string }> {
    const expiresAt = daysFromNow(10) // So that the log has a line about the key.
    const { file, keys } = keyFile({ subject: 'erika.mustermann@example.com', expiresAt })
    const [key = ''] = keys
    const server = await startServer({
      env: { MCP_API_KEYS_FILE: file },
      policies: [['audit.yaml', 'principal: clear', `principal: ${principal}`]],
    })
    const answer = await fetch(server.url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}',
    })
    expect(await answer.text()).toContain('erika.mustermann')
    expect(await server.stop()).toBe(0)
    return { server, keyId: key.split('_')[1] ?? '' }
  }

  it('has neither the subject nor the id of the key when policy says pseudonymous', async () => {
    const { server, keyId } = await trailOf('pseudonymous')
    expect(server.stdout()).not.toContain('mustermann')
    expect(server.stdout()).not.toContain(keyId)
    const users = server
      .audited()
      .filter((record: AuditRecord) => record.metadata.correlation_uid !== undefined)
      .map((record: AuditRecord) => record.actor.user)
    expect(users).toHaveLength(3)
    for (const user of users) {
      const uid = expect.stringMatching(/^[0-9a-f]{64}$/)
      expect(user).toMatchObject({ uid, programmatic_credentials: [{ uid }] })
      expect(user).toEqual(users[0])
    }
    expect(server.stderr()).not.toContain(keyId)
    expect(server.stderr()).toContain(`"keyId":"${users[0]?.programmatic_credentials[0].uid}"`)
  })

  it('has both when policy says clear', async () => {
    const { server, keyId } = await trailOf('clear')
    expect(server.stdout()).toContain('mustermann')
    expect(server.stdout()).toContain(keyId)
    expect(server.stderr()).toContain(`"keyId":"${keyId}"`)
  })
})
