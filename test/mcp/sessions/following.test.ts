// optional: legacy-sessions
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Endpoint } from '../endpoint.ts'
import { change, changes, note, subscribe, updated } from './notes.ts'
import { begin, isMethod, message, startSessions, until } from './peer.ts'

async function started(access = {}): Promise<Endpoint> {
  const endpoint = await startSessions({ catalog: { tools: [change], resources: [note] }, access })
  onTestFinished(() => endpoint[Symbol.asyncDispose]())
  return endpoint
}

describe('contract: a client hears of the resources that it follows', () => {
  it('of those, until it follows them no more', async () => {
    const peer = await begin(await started())
    const listener = await peer.listen()
    await changes(peer, 'note://before')
    expect(await subscribe(peer, 'note://a')).toEqual({})
    for (const uri of ['note://b', 'note://a']) await changes(peer, uri)
    const { json } = await listener.event(updated)
    expect(json.params).toEqual({ uri: 'note://a' })
    expect(await subscribe(peer, 'note://a', 'resources/unsubscribe')).toEqual({})
    expect(await subscribe(peer, 'note://c')).toEqual({})
    for (const uri of ['note://a', 'note://c']) await changes(peer, uri)
    await until(() => listener.events.filter(updated).length === 2)
    expect(listener.events.filter(updated)[1]?.json.params).toEqual({ uri: 'note://c' })
  })

  it('leaves a decision and an outcome', async () => {
    const endpoint = await started()
    await subscribe(await begin(endpoint), 'note://a')
    await until(() => endpoint.outcomes().length === 1)
    const about = { method: 'resources/subscribe', name: 'note://{id}' }
    expect(endpoint.outcomes()).toEqual([expect.objectContaining({ ...about, outcome: 'ok' })])
    expect(endpoint.audited).toContainEqual(
      expect.objectContaining({ ...about, event: 'decision', allowed: true }),
    )
  })
})

describe('threat: a session that follows what it may not read', () => {
  it('refuses a resource that its policy refuses', async () => {
    const endpoint = await started({ scopes: ['never:granted'] })
    const peer = await begin(endpoint)
    const answer = await peer.post(message('resources/subscribe', { uri: 'note://a' }))
    expect(answer.status).toBe(403)
  })

  it('tells nothing of what another owner changes', async () => {
    const endpoint = await started()
    const [ann, bob] = [await begin(endpoint), await begin(endpoint, {}, { subject: 'bob' })]
    const [annListens, bobListens] = [await ann.listen(), await bob.listen()]
    for (const peer of [ann, bob]) await subscribe(peer, 'note://a')
    await changes(ann, 'note://a')
    await annListens.event(updated)
    await changes(bob, 'note://a')
    await bobListens.event(updated)
    for (const { events } of [annListens, bobListens])
      expect(events.filter(updated)).toHaveLength(1)
  })

  it('follows nothing any more when the policies have changed', async () => {
    const endpoint = await started()
    const peer = await begin(endpoint)
    const listener = await peer.listen()
    await subscribe(peer, 'note://a')
    endpoint.lasting.changes.policiesChanged()
    await listener.event(isMethod('notifications/prompts/list_changed'))
    await changes(peer, 'note://a')
    await subscribe(peer, 'note://b')
    await changes(peer, 'note://b')
    await until(() => listener.events.filter(updated).length === 2)
    const told = listener.events.filter(updated).map(({ json }) => json.params)
    expect(told).toEqual([{ uri: 'note://a' }, { uri: 'note://b' }])
  })
})
