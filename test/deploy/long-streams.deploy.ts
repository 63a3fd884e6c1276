import { afterAll, describe, expect, it } from 'vitest'
import { production } from '../production.ts'
import { stopServers } from '../server.ts'
import { ENDPOINT, fetchThrough } from './fetch.ts'
import { listenRequest } from './listen.ts'
import { describeWith } from './programs.ts'
import { startProxied } from './proxied.ts'
import { type Change, PROXIES, type ProxyKind, startProxy } from './proxies.ts'

/** Idle times of proxies, a little longer than the 15 seconds between two keep-alive comments. */
const IMPATIENT: Readonly<Record<ProxyKind, readonly Change[]>> = {
  nginx: [['proxy_read_timeout 60s;', 'proxy_read_timeout 18s;']],
  caddy: [['dial_timeout 3s', 'dial_timeout 3s\n\t\t\tread_timeout 18s']],
}

describe('contract: a stream that has nothing to say outlives the idle time of a proxy', () => {
  afterAll(stopServers)
  const site = production()

  describe.concurrent.each(PROXIES)('%s', (kind) => {
    describeWith([kind], 'with an idle time of 18 s', () => {
      it('carries two comments and the end of the stream', async ({ onTestFinished }) => {
        const server = await startProxied(site)
        const proxy = await startProxy(kind, [server.port], IMPATIENT[kind])
        onTestFinished(() => proxy[Symbol.asyncDispose]())
        const response = await fetchThrough(proxy)(ENDPOINT, listenRequest(site.key))
        expect(response.status).toBe(200)

        let text = ''
        let stopped = false
        for await (const part of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
          text += part
          if (stopped || (text.match(/^:/gm)?.length ?? 0) < 2) continue
          stopped = true
          void server.stop()
        }
        expect(text).toContain('"result"')
      })
    })
  })
})
