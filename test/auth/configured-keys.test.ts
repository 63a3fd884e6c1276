// optional: api-key
import { describe, expect, it } from 'vitest'
import { configuredKeys } from '../../src/auth/configured-keys.ts'
import { ephemeralKey } from '../../src/auth/ephemeral-key.ts'
import type { LogFields } from '../../src/log.ts'
import { loadPolicies } from '../../src/policy.ts'
import { testClock } from '../clock.ts'
import { daysFromNow, keyFile } from '../key-file.ts'

const { auth } = loadPolicies('policies', 'development')
const off = { ...auth, apiKeys: { ...auth.apiKeys, enabled: false } }

/** The parts that keys are made of, and what the log has been told. */
function parts(apiKeysFile: string | undefined, ephemeral = false) {
  const said: (LogFields | undefined)[] = []
  const warn = (_message: string, fields?: LogFields): void => {
    said.push(fields)
  }
  const logger = { fatal: warn, error: warn, warn, info: warn, debug: warn }
  const key = ephemeral ? ephemeralKey(['mcp:use']).record : undefined
  return {
    apiKeysFile,
    policy: auth,
    ephemeralKey: key,
    logger,
    clock: testClock(),
    nameOf: String,
    said,
  }
}

describe('contract: API keys are a way in when there is a file of them, or the key of development', () => {
  it.each<[string, number, boolean, boolean]>([
    ['nothing', 0, false, false],
    ['the key of development', 1, false, true],
    ['a file', 1, true, false],
    ['both', 1, true, true],
  ])('with %s', (_name, ways, hasFile, ephemeral) => {
    const file = hasFile ? keyFile({}).file : undefined
    expect(configuredKeys(parts(file, ephemeral))).toHaveLength(ways)
    expect(configuredKeys({ ...parts(file, ephemeral), policy: off })).toEqual([])
  })

  it('with an empty file, though nobody has a key yet', () => {
    const [strategy] = configuredKeys(parts(keyFile().file))
    expect(strategy?.available(Date.now())).toBe(false)
  })

  it('not with a key that lives longer than policy allows', () => {
    const { file } = keyFile({ expiresAt: daysFromNow(364) })
    expect(() => configuredKeys(parts(file))).toThrow(/^MCP_API_KEYS_FILE keys\.0\.expiresAt: /)
  })
})

describe('contract: keys of the file that are about to end are in the log', () => {
  it('with their public id and end, until the strategy is closed', () => {
    const expiresAt = daysFromNow(10)
    const { file, keys } = keyFile({ expiresAt }, {})
    const made = parts(file, true)
    const [strategy] = configuredKeys(made)
    const expected = { keyId: keys[0]?.slice(5, 17), expiresAt }
    expect(made.said).toEqual([expected])
    made.clock.advance(86_400_000)
    expect(made.said).toEqual([expected, expected])
    strategy?.close()
    expect(made.clock.pending()).toBe(0)
  })

  it('but not the key of development, which lives a day', () => {
    const made = parts(undefined, true)
    configuredKeys(made)
    expect(made.said).toEqual([])
  })
})
