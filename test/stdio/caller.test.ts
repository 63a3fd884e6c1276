import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { defineTool } from '../../src/define.ts'
import { toolCall } from '../app.ts'
import { daysFromNow } from '../key-file.ts'
import { type Host, startHost } from './host.ts'

const nothing = z.strictObject({})
let running = 0
const hang = defineTool({
  name: 'hang',
  title: 'Hang',
  description: 'Waits until it is told to stop.',
  annotations: {},
  input: nothing,
  output: nothing,
  longRunning: false,
  async run(_input, { signal }) {
    running += 1
    await sleep(60_000, undefined, { signal })
    return {}
  },
})

const echo = (id: number): object => toolCall('echo', { text: 'x' }, id)

/** The key file and the deny list are looked at every 2 s. */
async function readAgain(host: Host): Promise<void> {
  host.clock.advance(2000)
  await vi.waitFor(() =>
    expect(host.audited).toContainEqual(expect.objectContaining({ event: 'keys.reload' })),
  )
}

describe('threat: a key that does not hold any more, the process that runs as it goes on', () => {
  it.each([
    ['was revoked', { revokedAt: daysFromNow(-1) }, 'revoked'],
    ['is revoked from tomorrow', { revokedAt: daysFromNow(1) }, 'revoked'],
    ['has expired', { expiresAt: daysFromNow(-0.5) }, 'expired'],
    ['has another digest', { sha256: 'ab'.repeat(32) }, 'unknown'],
    ['is gone', { id: 'a'.repeat(12) }, 'unknown'],
    ['is for other networks', { allowedCidrs: ['10.0.0.0/8'] }, 'address'],
  ])('refuses the next message of a key that %s, and ends', async (_name, edit, cause) => {
    await using host = await startHost()
    expect(await host.ask(echo(1))).toHaveProperty('result')
    host.editKey(edit)
    await readAgain(host)
    const { error } = await host.ask(echo(2))
    expect(error).toEqual({ code: -32600, message: 'Unauthorized' })
    expect(host.lost()).toBe(true)
    expect(host.audited.slice(-2)).toMatchObject([
      { event: 'authn.fail', reason: 'authenticate.rejected', cause },
      { event: 'request', reason: 'authenticate.rejected', status: 401 },
    ])
    expect(host.audited.filter(({ event }) => event === 'outcome')).toHaveLength(1)
  })

  it('ends the calls of a key that was revoked, each with its answer', async () => {
    await using host = await startHost({ catalog: { tools: [hang] } })
    const before = running
    host.send(toolCall('hang', {}, 1))
    await vi.waitFor(() => expect(running).toBe(before + 1))
    host.editKey({ revokedAt: daysFromNow(-1) })
    await readAgain(host)
    const { result } = await host.arrived(({ id }) => id === 1)
    expect(result).toMatchObject({
      isError: true,
      content: [{ text: expect.stringContaining('The credential of this call was revoked') }],
    })
    expect(host.audited).toContainEqual(expect.objectContaining({ outcome: 'revoked' }))
  })

  it.each([
    ['is not JSON', 'canary-text'],
    ['has a field that is not known', '{"keys":[],"canary":1}'],
  ])('goes on with what was read before when the file %s', async (_name, text) => {
    await using host = await startHost()
    host.editKey(text)
    await readAgain(host)
    expect(host.audited.at(-1)).toMatchObject({ event: 'keys.reload', outcome: 'refused' })
    expect(await host.ask(echo(1))).toHaveProperty('result')
    expect(host.lost()).toBe(false)
  })

  it.each([
    ['still holds', {}],
    ['is for this machine', { allowedCidrs: ['127.0.0.0/8'] }],
  ])('lets a key go on that %s', async (_name, edit) => {
    await using host = await startHost()
    host.editKey({ name: 'another name', ...edit })
    await readAgain(host)
    expect(await host.ask(echo(1))).toHaveProperty('result')
    expect(host.lost()).toBe(false)
  })

  it('takes away what the key may not do any more', async () => {
    await using host = await startHost()
    const documents = toolCall('process_documents', { documents: [{ name: 'a', text: 'b' }] }, 1)
    expect(await host.ask(documents)).toHaveProperty('result')
    host.editKey({ scopes: ['mcp:use'] })
    await readAgain(host)
    expect(await host.ask({ ...documents, id: 2 })).toHaveProperty('error.message', 'Forbidden')
  })
})
