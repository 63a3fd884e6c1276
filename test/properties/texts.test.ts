import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { scanJson } from '../../src/json-scan.ts'
import { loadPolicies } from '../../src/policy.ts'
import { Problems } from '../../src/problems.ts'
import { type TestApp, testApp, toolCall } from '../app.ts'
import { ROOT } from '../source-tree.ts'

const RUNS = Math.ceil(Number(process.env['FUZZ_RUNS'] ?? 20_000) / 10)

/** A text with a few places changed. */
function changed(text: string, pieces: readonly string[]): fc.Arbitrary<string> {
  const change = fc.tuple(fc.nat(text.length), fc.nat(12), fc.constantFrom(...pieces, ''))
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) =>
      changes.reduce(
        (now, [at, length, piece]) => now.slice(0, at) + piece + now.slice(at + length),
        text,
      ),
    )
}

const JSON_PIECES = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\\u0000',
  '\\ud800',
  '\\',
  'null',
  '1e999',
  '-0',
  'NaN',
  '"__proto__":{},',
  '"method":"tools/call",',
  '"id":2,',
  '"params":[],',
  '\u0000',
  '\ufeff',
  '[['.repeat(80),
  '"jsonrpc":"1.0",',
  '{"a":'.repeat(70),
  '\u2028',
  '/**/',
]

describe('threat: JSON that nobody foresaw, it runs or breaks the server', () => {
  let app: TestApp
  beforeEach(() => {
    app = testApp({
      policies: (policies) => ({
        ...policies,
        limits: {
          ...policies.limits,
          address: { ...policies.limits.address, requestsPerMinute: 1_000_000 },
          principal: { ...policies.limits.principal, requestsPerMinute: 1_000_000 },
        },
      }),
    })
  })
  afterEach(() => app.close())

  it('is one message that the standard parser reads the same, or is refused', async () => {
    const good = JSON.stringify(toolCall('echo', { text: 'hello' }))
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(changed(good, JSON_PIECES), fc.json(), fc.string()),
        async (body) => {
          const { status, reached, events } = await app.send({
            body,
            headers: { 'mcp-method': 'tools/call', 'mcp-name': 'echo' },
          })
          expect(status).toBeOneOf([200, 202, 400, 403, 404])
          const ran = events.filter(({ event }) => event === 'decision').length
          if (ran === 0) return
          // What ran is JSON without anything that two parsers read differently.
          expect(scanJson(body, 64)).toBeUndefined()
          expect(JSON.parse(body)).toMatchObject({ jsonrpc: '2.0', method: 'tools/call' })
          expect(reached).toBe(1)
        },
      ),
      { numRuns: RUNS },
    )
  }, 600_000)
})

const YAML_PIECES = [
  ' ',
  '\n',
  '- ',
  ': ',
  '&a ',
  '*a',
  '<<: ',
  '!!js ',
  '"',
  "'",
  '#',
  '|',
  '>',
  '{',
  '}',
  '[',
  ']',
  '0x10',
  '1_000',
  'yes',
  '~',
  'null',
  '*',
  '---\n',
  '%YAML 1.1\n',
  '-1',
  '1e3',
  '__proto__: 1',
  '\t',
]

describe('threat: a policy file that is damaged, it is taken for another policy', () => {
  it.each(['access.yaml', 'audit.yaml', 'auth.yaml', 'http.yaml', 'limits.yaml'])(
    '%s is a whole policy, or named as the problem',
    (file) => {
      const dir = mkdtempSync(join(tmpdir(), 'gatehouse-fuzz-'))
      onTestFinished(() => rmSync(dir, { recursive: true }))
      cpSync(join(ROOT, 'policies'), dir, { recursive: true })
      const text = readFileSync(join(dir, file), 'utf8')
      fc.assert(
        fc.property(changed(text, YAML_PIECES), (damaged) => {
          writeFileSync(join(dir, file), damaged)
          try {
            const policies = loadPolicies(dir, 'production')
            expect(Object.isFrozen(policies)).toBe(true)
            for (const entry of Object.values(policies.access.tools)) {
              expect(entry.scopes).not.toContain('*')
            }
          } catch (error) {
            expect(error).toBeInstanceOf(Problems)
            if (!(error instanceof Problems)) throw error
            for (const { field } of error.problems) expect(field.startsWith(file)).toBe(true)
          }
        }),
        { numRuns: Math.ceil(RUNS / 10) },
      )
    },
    600_000,
  )
})
