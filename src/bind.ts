import { once } from 'node:events'
import type { Server } from 'node:http'

/** A port is taken, or an address is not of this machine. The message names the setting to change. */
export class CannotBind extends Error {
  constructor(prefix: SettingPrefix, cause: unknown) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown'
    const what = REASONS.get(code) ?? 'PORT: cannot be used with this address'
    super(`${prefix}${what} (${code})`, { cause })
    this.name = 'CannotBind'
  }
}

/** Of `HOST` and `PORT`, or of `ADMIN_HOST` and `ADMIN_PORT`. */
type SettingPrefix = '' | 'ADMIN_'

const REASONS: ReadonlyMap<string, string> = new Map([
  ['EADDRINUSE', 'PORT: is taken by another process'],
  ['EACCES', 'PORT: needs rights that this user does not have'],
  ['EADDRNOTAVAIL', 'HOST: is not an address of this machine'],
])

/**
 * @param port `0` means a free one
 * @returns the bound port
 * @throws {CannotBind}
 */
export async function bind(
  server: Server,
  port: number,
  host: string,
  prefix: SettingPrefix,
): Promise<number> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new CannotBind(prefix, cause)
  }
  const address = server.address()
  return address !== null && typeof address === 'object' ? address.port : port
}
