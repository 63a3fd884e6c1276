import { createServer } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { bind, CannotBind } from '../src/bind.ts'

const servers = new Set<ReturnType<typeof createServer>>()
afterEach(() => {
  for (const server of servers) server.close()
})

function newServer(): ReturnType<typeof createServer> {
  const server = createServer()
  servers.add(server)
  return server
}

describe('contract: a listener that cannot be bound names the setting to change', () => {
  it('says which port is taken', async () => {
    const port = await bind(newServer(), 0, '127.0.0.1', '')
    expect(port).toBeGreaterThan(0)
    for (const prefix of ['', 'ADMIN_'] as const) {
      const error = await bind(newServer(), port, '127.0.0.1', prefix).catch(String)
      expect(error).toBe(`CannotBind: ${prefix}PORT: is taken by another process (EADDRINUSE)`)
    }
  })

  it('says which address is not of this machine', async () => {
    // TEST-NET-1 (RFC 5737): no machine has it.
    await expect(bind(newServer(), 0, '192.0.2.1', 'ADMIN_')).rejects.toThrow(
      /^ADMIN_HOST: is not an address of this machine \(EADDRNOTAVAIL\)$/,
    )
  })

  it('gives the code alone when it knows no more', () => {
    const error = new CannotBind('', Object.assign(new Error('canary'), { code: 'EMFILE' }))
    expect(error.message).toBe('PORT: cannot be used with this address (EMFILE)')
  })
})
