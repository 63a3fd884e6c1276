import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkpointSigner, isSigned, loadSigner, publicKeyId } from '../../src/audit/checkpoint.ts'
import { Problems } from '../../src/problems.ts'
import { logOf, OTHER_PRIVATE_KEY, PRIVATE_KEY, SIGNER } from './log.ts'
import { temporaryFolder } from './pipe.ts'

const line = logOf({ records: 1, every: 1 })[1]?.subarray(0, -1) ?? Buffer.alloc(0)
const checkpoint = JSON.parse(line.toString()).unmapped.checkpoint
const publicKey = createPublicKey(PRIVATE_KEY)

function pem(type: 'ed25519' | 'ed448' | 'x25519' | 'ec'): string {
  return String(generated(type).export({ type: 'pkcs8', format: 'pem' }))
}

function generated(type: 'ed25519' | 'ed448' | 'x25519' | 'ec'): KeyObject {
  switch (type) {
    case 'ec':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    case 'ed448':
      return generateKeyPairSync('ed448').privateKey
    case 'x25519':
      return generateKeyPairSync('x25519').privateKey
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey
  }
}

describe('contract: a signature is verified from the line and the public key alone', () => {
  it('over the documented bytes', () => {
    const [before = ''] = line.toString().split(',"signature":"')
    const bytes = Buffer.from(`gatehouse/v1/audit-checkpoint\n${before}`)
    const signature = Buffer.from(checkpoint.signature, 'base64')
    expect(signature).toHaveLength(64)
    expect(verify(null, bytes, publicKey, signature)).toBe(true)
    for (const named of [
      '"sequence":2',
      '"count":1',
      '"digest":"',
      '"time":',
      '"version":"1.8.0"',
    ]) {
      expect(before).toContain(named)
    }
    expect(isSigned(line, checkpoint.signature, publicKey)).toBe(true)
  })

  it('names the public key by the digest of its DER', () => {
    const { signer } = checkpoint
    expect(signer).toBe(publicKeyId(publicKey))
    expect(signer).toMatch(/^[0-9a-f]{16}$/)
    expect(checkpointSigner(OTHER_PRIVATE_KEY).id).not.toBe(SIGNER.id)
  })
})

describe('threat: a forged checkpoint, records are vouched for that the server never wrote', () => {
  it.each([
    ['another key', line, checkpoint.signature, createPublicKey(OTHER_PRIVATE_KEY)],
    ['an empty signature', line, '', publicKey],
    ['a signature in another spelling', line, `${checkpoint.signature}=`, publicKey],
    [
      'another byte of the line',
      Buffer.from(line.toString().replace('"count":1', '"count":2')),
      checkpoint.signature,
      publicKey,
    ],
    [
      'a second signature in the line',
      Buffer.from(line.toString().replace('}}}', ',"signature":"x"}}}')),
      checkpoint.signature,
      publicKey,
    ],
    ['a line without signature', Buffer.from('{}'), checkpoint.signature, publicKey],
  ])('refuses %s', (_name, bytes, signature, key) => {
    expect(isSigned(bytes, signature, key)).toBe(false)
  })

  it('signs nothing that is no checkpoint', () => {
    expect(() => SIGNER.seal('{"a":1')).toThrow(TypeError)
    expect(() => SIGNER.seal('{"a":1,"signature":"","b":{"c":1,"signature":""')).toThrow(TypeError)
  })
})

describe('threat: a wrong key file, checkpoints are signed by nothing that anybody can verify', () => {
  it.each([
    ['nothing', ''],
    ['text', 'canary'],
    ['a public key', String(publicKey.export({ type: 'spki', format: 'pem' }))],
    ['Ed448', pem('ed448')],
    ['X25519', pem('x25519')],
    ['P-256', pem('ec')],
  ])('refuses %s, and does not quote it', (_name, content) => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'canary.pem')
    writeFileSync(file, content)
    const field = 'MCP_AUDIT_SIGNING_KEY_FILE'
    const message =
      'must be an Ed25519 private key (PEM); make one with: openssl genpkey -algorithm ed25519'
    expect(() => loadSigner(file)).toThrow(new Problems([{ field, message }]))
    expect(() => loadSigner(join(folder.path, 'missing'))).toThrow(Problems)
  })

  it('lets Ed25519 through', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'key.pem')
    writeFileSync(file, pem('ed25519'))
    expect(loadSigner(file).id).toMatch(/^[0-9a-f]{16}$/)
  })
})
