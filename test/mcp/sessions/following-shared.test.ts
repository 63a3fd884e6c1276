// optional: redis (@redis/client)
import { expect, it } from 'vitest'
import { createLogger } from '../../../src/log.ts'
import { redisStore } from '../../../src/stores/redis.ts'
import { describeRedis, startRedis } from '../../redis.ts'
import { change, changes, note, subscribe, updated } from './notes.ts'
import { begin, startSessions, until } from './peer.ts'

describeRedis(
  'threat: what changed while the shared store was away is missed without a word',
  () => {
    it('tells that what a session follows may have changed, and goes on telling', async () => {
      await using redis = await startRedis()
      const store = await redisStore({ url: redis.url, logger: createLogger('silent') })
      await using endpoint = await startSessions({
        catalog: { tools: [change], resources: [note] },
        store,
      })
      const peer = await begin(endpoint)
      const listener = await peer.listen()
      await subscribe(peer, 'note://a')
      await redis.stop()
      await redis.start()
      expect((await listener.event(updated)).json.params).toEqual({ uri: 'note://a' })

      await changes(peer, 'note://a')
      await until(() => listener.events.filter(updated).length >= 2)
      await store.close()
    }, 30_000)
  },
)
