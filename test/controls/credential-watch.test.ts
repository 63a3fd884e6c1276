import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import type { Authenticator } from '../../src/auth/authenticator.ts'
import { CredentialFault, type Fault } from '../../src/auth/strategy.ts'
import { defineTool } from '../../src/define.ts'
import { Denied, type DenyReason } from '../../src/errors.ts'
import type { Policies } from '../../src/policy.ts'
import { tools } from '../../src/tools/index.ts'
import { META, testApp, toolCall } from '../app.ts'
import { expectServed } from '../expect-refused.ts'

/** Runs until it is told to stop or to end. */
function patientTool(ended: Promise<string>) {
  return defineTool({
    name: 'patient',
    title: 'Patient',
    description: 'Waits.',
    annotations: {},
    input: z.strictObject({}),
    output: z.strictObject({ text: z.string().max(10) }),
    longRunning: true,
    async run(_input, { signal }) {
      const stopped = new Promise<string>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      )
      return { text: await Promise.race([ended, stopped]) }
    },
  })
}

const access = (shipped: Policies): Policies => ({
  ...shipped,
  access: {
    ...shipped.access,
    tools: {
      ...shipped.access.tools,
      patient: { scopes: [], listed: false, timeoutSeconds: 60, why: 'of the test' },
    },
  },
})

/** The shipped app with the tool, one call of which is running. */
async function running() {
  const finished = Promise.withResolvers<string>()
  const app = testApp({
    policies: access,
    catalog: { tools: [...tools, patientTool(finished.promise)] },
  })
  onTestFinished(() => app.close())
  const call = await app.open({ body: toolCall('patient', {}) })
  expect(call.status).toBe(200)
  return { app, call, finish: () => finished.resolve('done') }
}

const LISTEN = {
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { notifications: { toolsListChanged: true }, _meta: META },
}

/** What the strategies say of a credential from now on. */
function refusing(reason: DenyReason, fault: Fault): Pick<Authenticator, 'recheck' | 'denies'> {
  return {
    async recheck() {
      throw new Denied(reason, { cause: new CredentialFault(fault) })
    },
    denies: () => false,
  }
}

describe('threat: a revoked credential, whoever stole it keeps what is open', () => {
  it.each<Fault>(['revoked', 'denied', 'unknown', 'inactive', 'expired'])(
    'ends an open stream without a result when its credential is %s',
    async (fault) => {
      const app = testApp()
      onTestFinished(() => app.close())
      const stream = await app.open({ body: LISTEN })
      expect(stream.status).toBe(200)
      app.holds.use(refusing('authenticate.rejected', fault))
      await app.holds.check()
      const { text } = await stream.end()
      expect(text).toContain('notifications/subscriptions/acknowledged')
      expect(text).not.toContain('"result"')
      expect(text).not.toContain(fault)
    },
  )

  it.each<Fault>(['revoked', 'denied', 'unknown', 'inactive'])(
    'ends a running call with an answer and a record when its credential is %s',
    async (fault) => {
      const { app, call } = await running()
      app.holds.use(refusing('authenticate.rejected', fault))
      await app.holds.check()
      const { json, events } = await call.end()
      expect(json).toMatchObject({
        result: {
          isError: true,
          content: [{ text: expect.stringMatching(/^The credential of this call was revoked/) }],
        },
      })
      expect(events).toContainEqual(
        expect.objectContaining({ event: 'outcome', outcome: 'revoked' }),
      )
    },
  )

  it('watches over nothing that has ended', async () => {
    const app = testApp()
    onTestFinished(() => app.close())
    expectServed(await app.send())
    let asked = 0
    app.holds.use({
      async recheck() {
        asked += 1
        throw new Denied('authenticate.rejected')
      },
      denies: () => false,
    })
    await app.holds.check()
    expect(asked).toBe(0)
  })
})

describe('contract: what may go on', () => {
  it.each<[string, DenyReason, Fault]>([
    [
      'the token expires: it was good when the call was accepted',
      'authenticate.rejected',
      'expired',
    ],
    ['nothing is known of it', 'authenticate.keys-unavailable', 'unknown'],
  ])('lets a running call come to its end when %s', async (_name, reason, fault) => {
    const { app, call, finish } = await running()
    app.holds.use(refusing(reason, fault))
    await app.holds.check()
    finish()
    const { json } = await call.end()
    expect(json).toMatchObject({ result: { structuredContent: { text: 'done' } } })
  })

  it('lets streams and calls go on while their credential holds', async () => {
    const { app, call, finish } = await running()
    await app.holds.check()
    finish()
    const { json } = await call.end()
    expect(json).toMatchObject({ result: { structuredContent: { text: 'done' } } })
  })

  it('has nothing to watch over for an anonymous caller of development', async () => {
    const app = testApp({ env: { MCP_DANGEROUSLY_ALLOW_ANONYMOUS: 'true' } })
    onTestFinished(() => app.close())
    app.holds.use(refusing('authenticate.rejected', 'revoked'))
    const stream = await app.open({
      body: LISTEN,
      headers: { authorization: null },
    })
    await app.holds.check()
    expect(stream.status).toBe(200)
    await stream.leave()
  })
})
