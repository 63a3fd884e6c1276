// optional: introspection
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { reloadable } from './reload-target.ts'

describe('contract: the files of client secrets are watched', () => {
  it('follows the files that new policies name, and reads nothing twice for it', async () => {
    const { folder, live, afterTenSeconds, reloads } = reloadable()
    const secret = join(folder, 'client-secret')
    writeFileSync(secret, 'first')
    const auth = join(folder, 'auth.yaml')
    const issuer = [
      'issuers:',
      '  - issuer: "https://auth.example.com"',
      '    verification: introspection',
      '    introspection:',
      '      endpoint: "https://auth.example.com/introspect"',
      '      clientId: "gatehouse"',
      `      clientSecretFile: "${secret}"`,
      '    why: "of the test"',
    ]
    writeFileSync(auth, readFileSync(auth, 'utf8').replace('issuers: []', issuer.join('\n')))
    await live.reload()
    await afterTenSeconds()
    expect(reloads()).toEqual(['policy.reload applied'])
    writeFileSync(secret, 'second')
    await afterTenSeconds()
    expect(reloads()).toEqual(['policy.reload applied', 'keys.reload applied'])
  })
})
