// optional: oauth
import { setTimeout as sleep } from 'node:timers/promises'
import { jws, signingKey, startIssuer } from '../identity/issuer.ts'
import { issuersPolicy } from '../identity/target.ts'
import { type Server, stopServers } from '../server.ts'
import { startCallers } from './callers.ts'
import { none, type Scenario, some } from './scenario.ts'
import { startRoomy } from './target.ts'

const SIZES = { whole: { seconds: 20 }, smoke: { seconds: 1 } } as const

/** The identity provider goes away and comes back while callers hold its tokens and API keys. */
export const issuerDown: Scenario = {
  name: 'issuer-down',
  about: 'the identity provider is down',
  async run(size) {
    const { seconds } = SIZES[size]
    const issuer = await startIssuer()
    const server = await startRoomy({
      policies: [
        issuersPolicy([issuer]),
        // Each call is verified anew.
        ['auth.yaml', 'verificationCacheSeconds: 60', 'verificationCacheSeconds: 0'],
        ['auth.yaml', 'cooldownSeconds: 30', 'cooldownSeconds: 1'],
      ],
    })
    const token = (key = issuer.key): string => {
      const now = Math.floor(Date.now() / 1000)
      const times = { iat: now - 60, exp: now + 600 }
      const claims = { iss: issuer.url, aud: server.url, sub: 'user', client_id: 'c' }
      const header = { alg: key.alg, kid: key.kid, typ: 'at+jwt' }
      return jws(key, header, { ...claims, scope: 'mcp:use', ...times })
    }
    const known = startCallers(server, { count: 4, token: () => token(), pauseMs: 5 })
    const keyed = startCallers(server, { count: 4, pauseMs: 5 })
    await known.reaches(10)
    await issuer.down()
    // Nobody can tell whether a key that was not seen before is one of the issuer.
    const unseen = signingKey('ES256', 'unseen')
    await untilUnknown(server, () => token(unseen))
    const others = startCallers(server, { count: 1, token: () => token(unseen), pauseMs: 20 })
    await sleep(seconds * 1000)
    await others.reaches(5)
    await others.stop()
    const during = known.latencies.length
    await issuer.up()
    await sleep(seconds * 250)
    await known.reaches(during + 10)
    await Promise.all([known.stop(), keyed.stop()])
    await issuer.down()
    await stopServers()
    return [
      some('calls with tokens of known keys', known.latencies.length, 20),
      none('of them failed', known.failures.length),
      some('calls with API keys', keyed.latencies.length, 10),
      none('of them failed', keyed.failures.length),
      some('calls with a key nobody can check', others.failures.length, 5),
      none(
        'of them answered otherwise than 503',
        count(others.failures, (one) => one !== '503'),
      ),
      none('of them let through', others.latencies.length),
    ]
  },
}

/** Keys that were fetched within the cool-down are the word of the issuer: until it is over, 401. */
async function untilUnknown(server: Server, token: () => string): Promise<void> {
  const first = startCallers(server, { count: 1, token, pauseMs: 20 })
  for (let seen = 1; !first.failures.includes('503'); seen += 1) await first.reaches(seen)
  await first.stop()
}

function count<T>(list: readonly T[], holds: (one: T) => boolean): number {
  return list.filter(holds).length
}
