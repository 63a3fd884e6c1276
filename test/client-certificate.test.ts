import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clientCertificate } from '../src/client-certificate.ts'

const read = (name: string): Buffer => readFileSync(join(import.meta.dirname, 'tls', name))
const identity = (name: string) => ({ cert: read(`${name}.crt`), key: read(`${name}.key`) })

/** SHA-256 of the DER form as OpenSSL prints it, in base64url. */
function thumbprint(name: string): string {
  const { fingerprint256 } = new X509Certificate(read(`${name}.crt`))
  return Buffer.from(fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')
}

const accepted: TLSSocket[] = []
// Lets strangers in, as the server of this product never does, to see what is said of them.
const server = createServer(
  { ...identity('server'), ca: read('ca.crt'), requestCert: true, rejectUnauthorized: false },
  (socket) => {
    accepted.push(socket)
    socket.on('error', () => socket.destroy())
    socket.write('hello')
  },
)
beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => {
  for (const socket of accepted) socket.destroy()
  server.close()
})

/** The server's end of a connection, once data has come over it. */
async function connected(
  options: ConnectionOptions,
  onSession: (session: Buffer) => void = () => undefined,
): Promise<TLSSocket> {
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const client = connect({ port, host: '127.0.0.1', ca: read('ca.crt'), ...options })
  client.on('session', onSession)
  await once(client, 'data')
  const socket = accepted.at(-1)
  if (socket === undefined) throw new Error('not accepted')
  return socket
}

/** The server's end of a connection that resumes the session of another one. */
async function resumed(options: ConnectionOptions): Promise<TLSSocket> {
  const session = await new Promise<Buffer>((resolve, reject) => {
    connected(options, resolve).catch(reject)
  })
  const socket = await connected({ ...options, session })
  expect(socket.isSessionReused()).toBe(true)
  return socket
}

describe('threat: a certificate that nobody has verified, it stands for somebody', () => {
  it('names a verified certificate as tokens do', async () => {
    const socket = await connected(identity('client'))
    expect(clientCertificate(socket)).toBe(thumbprint('client'))
  })

  it.each([
    ['one that no authority has signed', identity('stranger')],
    ['none', {}],
  ])('does not name %s', async (_name, options) => {
    const socket = await connected(options)
    expect(clientCertificate(socket)).toBeUndefined()
  })

  it('does not name any on a connection without TLS', async () => {
    expect(clientCertificate(new Socket())).toBeUndefined()
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('keeps what it knows in resumed %s', async (version) => {
    const only = { minVersion: version, maxVersion: version }
    const socket = await resumed({ ...identity('client'), ...only })
    expect(clientCertificate(socket)).toBe(thumbprint('client'))
    const stranger = await resumed({ ...identity('stranger'), ...only })
    expect(clientCertificate(stranger)).toBeUndefined()
  })

  it('does not name one that has ended since', async () => {
    const socket = await connected(identity('client'))
    const { validToDate } = new X509Certificate(read('client.crt'))
    expect(clientCertificate(socket, validToDate.getTime())).toBe(thumbprint('client'))
    expect(clientCertificate(socket, validToDate.getTime() + 1)).toBeUndefined()
  })
})
