import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import type { Hold, Holds } from '../holds.ts'
import { whenDone } from '../when-closed.ts'

/**
 * Threat:  A credential is revoked, and whoever stole it keeps the streams and calls that are open.
 * Rule:    the credential of every open answer is verified again every 10 s and after each reload,
 *          as that of a new request would be, its proof of possession aside. A stream ends with its
 *          credential. A call that was accepted may outlive the expiry of its token, up to its own
 *          deadline; revocation and denial end it, too.
 * Policy:  none: the interval is fixed
 * Refuses: nothing: it ends what is open
 * Source:  OWASP ASVS 5.0 7.4.1, 8.3.2; OWASP API Security API2:2023
 *
 * While the way to an issuer is down nothing new is known of its tokens, so nothing ends but by the
 * deny list, which asks nobody, and by its own end: `streamSeconds`, the expiry of the credential, the
 * deadline of the call. An issuer that is slow holds up the check of its own tokens alone.
 */
export function credentialWatch(holds: Pick<Holds, 'add'>): MiddlewareHandler<AppEnv> {
  return async function credentialWatch(c, next) {
    const credential = c.get('credential')
    const { hold, release } =
      credential === undefined ? NOBODY : holds.add(credential, c.get('identity'))
    c.set('hold', hold)
    whenDone(c.env.outgoing, release)
    await next()
  }
}

/** An anonymous caller of development has nothing that could end. */
const NOBODY: { readonly hold: Hold; readonly release: () => void } = {
  hold: { onEnd() {} },
  release() {},
}
