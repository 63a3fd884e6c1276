// optional: redis (@redis/client)
import type { ServerEvent } from '@modelcontextprotocol/server'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import type { Principal } from '../../src/context.ts'
import { createLogger } from '../../src/log.ts'
import { type Changes, changes, type Listener } from '../../src/mcp/changes.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { describeRedis, type Redis, startRedis } from '../redis.ts'

const CHANNEL = 'gatehouse:v1:events'

function person(subject: string): Principal {
  return {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'client',
    subject,
    scopes: [],
    roles: [],
    tenant: null,
  }
}
const [ann, bob] = [person('ann'), person('bob')]

describeRedis(
  'threat: a change in one process is not told in another, or to the wrong caller',
  () => {
    let redis: Redis
    beforeAll(async () => {
      redis = await startRedis()
    })
    afterAll(() => redis[Symbol.asyncDispose]())

    /** The changes of one process. */
    async function process(): Promise<Changes> {
      const store = await redisStore({ url: redis.url, logger: createLogger('silent') })
      onTestFinished(() => store.close())
      return changes(store.shared?.events)
    }

    /** What a stream of this caller hears, and whether it was ended. */
    function stream(of: Changes, principal: Principal) {
      const heard: ServerEvent[] = []
      const state = { heard, ended: '', next: Promise.withResolvers<void>() }
      const end: Listener['end'] = (why) => {
        state.ended = why
      }
      of.heardBy({ principal, end }, () =>
        of.bus.subscribe((event) => {
          heard.push(event)
          state.next.resolve()
          state.next = Promise.withResolvers()
        }),
      )
      return state
    }

    async function until(holds: () => boolean): Promise<void> {
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
    }

    it('reaches the streams of its owner in every process, and nobody else', async () => {
      const [here, there] = await Promise.all([process(), process()])
      const [hers, his, near] = [stream(there, ann), stream(there, bob), stream(here, ann)]
      here.publish({ kind: 'resource_updated', uri: 'report://a' }, ann)
      here.publish({ kind: 'tools_list_changed' }, undefined)
      await until(() => his.heard.length === 1 && hers.heard.length === 2)
      const both = [{ kind: 'resource_updated', uri: 'report://a' }, { kind: 'tools_list_changed' }]
      expect(hers.heard).toEqual(both)
      expect(his.heard).toEqual(both.slice(1))
      // Once, and not a second time by way of Redis.
      expect(near.heard).toEqual(both)
    })

    it.each([
      ['what is no JSON', '{'],
      ['another kind', '{"from":"a","event":{"kind":"drop_everything"}}'],
      [
        'one more member',
        JSON.stringify({ from: crypto.randomUUID(), event: { kind: 'tools_list_changed' }, x: 1 }),
      ],
      [
        'a URI that is too long',
        JSON.stringify({
          from: crypto.randomUUID(),
          event: { kind: 'resource_updated', uri: 'x'.repeat(5000) },
        }),
      ],
      ['more than an event can be', `"${'x'.repeat(10_000)}"`],
    ])('does not tell %s', async (_name, text) => {
      const there = await process()
      const his = stream(there, bob)
      await redis.cli('PUBLISH', CHANNEL, text)
      const good = JSON.stringify({
        from: crypto.randomUUID(),
        event: { kind: 'prompts_list_changed' },
      })
      await redis.cli('PUBLISH', CHANNEL, good)
      await until(() => his.heard.length > 0)
      expect(his.heard).toEqual([{ kind: 'prompts_list_changed' }])
    })

    it('tells that anything may have changed after Redis was away, and hears again', async () => {
      const [here, there] = await Promise.all([process(), process()])
      const his = stream(there, bob)
      await redis.stop()
      await redis.start()
      await until(() => his.heard.length >= 3)
      expect(his.heard.map(({ kind }) => kind)).toEqual([
        'tools_list_changed',
        'resources_list_changed',
        'prompts_list_changed',
      ])
      // It may have missed a resource that it follows: who opens it again reads it again.
      expect(his.ended).toBe('missed')
      await until(() => {
        here.publish({ kind: 'prompts_list_changed' }, undefined)
        return his.heard.length > 3
      })
    }, 30_000)

    it('leaves nothing in Redis', async () => {
      const here = await process()
      here.publish({ kind: 'resource_updated', uri: 'report://canary' }, ann)
      expect(await redis.cli('KEYS', '*events*')).toBe('')
    })
  },
)
