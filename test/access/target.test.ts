import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { compileRules } from '../../src/access/rules.ts'
import { findTarget } from '../../src/access/target.ts'
import type { Message } from '../../src/context.ts'
import { defineTool } from '../../src/define.ts'
import { loadPolicies } from '../../src/policy.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { tools } from '../../src/tools/index.ts'

const catalog = { tools, resources, prompts }
const rules = compileRules(loadPolicies('policies', 'production').access, 'mcp:use', catalog)
const find = findTarget(catalog, rules)
const ID = 'A'.repeat(22)

function message(method: string, params?: Readonly<Record<string, unknown>>): Message {
  return { jsonrpc: '2.0', id: 1, method, ...(params === undefined ? {} : { params }) }
}

describe('threat: another name than the one that runs, a rule decides on the wrong thing', () => {
  it.each([
    ['tools/call', 'echo', 'tool'],
    ['tools/call', 'delete_report', 'tool'],
    ['prompts/get', 'summarize_report', 'prompt'],
  ])('finds for %s of %s the %s', (method, name, kind) => {
    expect(find(message(method, { name }))?.rule).toMatchObject({ kind, name })
  })

  it.each<[string, unknown]>([
    ['the empty name', ''],
    ['null', null],
    ['a number', 1],
    ['a list', ['echo']],
    ['an object that reads like it', { toString: () => 'echo' }],
    ['a property of all objects', 'constructor'],
    ['the prototype', '__proto__'],
    ['another case', 'Echo'],
    ['a prefix', 'ech'],
    ['a suffix', 'echoo'],
    ['a space', 'echo '],
    ['a zero byte', 'echo\0'],
    ['a Cyrillic look-alike', '\u0435cho'],
    ['a resource', 'report://{id}'],
  ])('finds nothing for %s', (_name, name) => {
    expect(find(message('tools/call', { name }))).toBeUndefined()
    expect(find(message('prompts/get', { name }))).toBeUndefined()
  })

  it.each([
    ['a prompt as a tool', 'tools/call', 'summarize_report'],
    ['a tool as a prompt', 'prompts/get', 'echo'],
    ['a tool as a resource', 'resources/read', 'echo'],
    ['a tool of a list', 'tools/list', 'echo'],
    ['a tool of a ping', 'ping', 'echo'],
    ['a tool of a method in another case', 'Tools/Call', 'echo'],
  ])('finds nothing for %s', (_name, method, name) => {
    expect(find(message(method, { name }))).toBeUndefined()
  })

  it.each(['tools/call', 'prompts/get', 'resources/read'])(
    'finds nothing for %s alone',
    (method) => {
      expect(find(message(method))).toBeUndefined()
      expect(find(message(method, {}))).toBeUndefined()
    },
  )
})

describe('threat: a catalog without rules, what has none is used', () => {
  const none = new Map()
  const ruleless = findTarget(catalog, { tools: none, resources: none, prompts: none })
  const entryless = findTarget({ tools: [], resources: [], prompts: [] }, rules)

  it.each([
    ['tools/call', { name: 'echo' }],
    ['prompts/get', { name: 'summarize_report' }],
    ['resources/read', { uri: `report://${ID}` }],
  ])('finds nothing for %s without a rule, or without what it is for', (method, params) => {
    expect(find(message(method, params))).toBeDefined()
    expect(ruleless(message(method, params))).toBeUndefined()
    expect(entryless(message(method, params))).toBeUndefined()
  })
})

describe('threat: another URI than the template, a resource is read around its rule', () => {
  const read = (uri: unknown) => find(message('resources/read', { uri }))

  it('finds the template and its variable', () => {
    expect(read(`report://${ID}`)).toMatchObject({
      rule: { kind: 'resource', name: 'report://{id}' },
      args: { id: ID },
      parsed: { value: { id: ID } },
    })
  })

  it('looks at 2,048 characters at most', () => {
    expect(read(`report://${'A'.repeat(2039)}`)?.rule.name).toBe('report://{id}')
    expect(read(`report://${'A'.repeat(2040)}`)).toBeUndefined()
  })

  it.each<[string, unknown]>([
    ['no variable', 'report://'],
    ['a second segment', `report://${ID}/x`],
    ['a trailing slash', `report://${ID}/`],
    ['a slash more', `report:///${ID}`],
    ['a query', `report://${ID}?x`],
    ['a fragment', `report://${ID}#x`],
    ['another scheme', `file://${ID}`],
    ['a scheme in upper case', `REPORT://${ID}`],
    ['something before', ` report://${ID}`],
    ['a line before', `x\nreport://${ID}`],
    ['a list', [`report://${ID}`]],
    ['null', null],
  ])('finds nothing for %s', (_name, uri) => {
    expect(read(uri)).toBeUndefined()
  })

  it.each([
    ['a parent directory', '..'],
    ['an encoded one', '%2e%2e%2f'],
    ['the template itself', '{id}'],
    ['one character less', ID.slice(1)],
    ['one character more', `${ID}A`],
    ['a line after', `${ID}\n`],
    ['userinfo', `user@${ID}`],
    ['a property of all objects', 'constructor'],
  ])('does not parse %s, so that nothing runs', (_name, id) => {
    expect(read(`report://${id}`)?.parsed.value).toBeUndefined()
    expect(read(`report://${id}`)?.parsed.issues).not.toHaveLength(0)
  })

  it('takes as long as the URI, whatever it is (CVE-2026-0621)', () => {
    const startedAt = performance.now()
    for (let count = 0; count < 1000; count += 1) {
      read(`report://${'{'.repeat(count)}`)
      read(`report://${'%2f'.repeat(600)}/`)
    }
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})

describe('threat: an input that changes after the decision, another one runs', () => {
  const call = (args: unknown) =>
    find(message('tools/call', { name: 'process_documents', arguments: args }))

  it('freezes what it parsed, to the bottom, and leaves the message alone', () => {
    const args = { documents: [{ name: 'a', text: 'b' }] }
    const value = call(args)?.parsed.value
    expect(value).toEqual(args)
    expect(value).not.toBe(args)
    expect(Object.isFrozen(value)).toBe(true)
    expect(Object.isFrozen(value?.['documents'])).toBe(true)
    expect(Object.isFrozen(Object.values(value?.['documents'] ?? {})[0])).toBe(true)
    expect(Object.isFrozen(args.documents)).toBe(false)

    args.documents.push({ name: 'c', text: 'd' })
    expect(value?.['documents']).toHaveLength(1)
  })

  it.each<[string, unknown]>([
    ['an unknown field', { documents: [{ name: 'a', text: 'b' }], admin: true }],
    ['an unknown field inside', { documents: [{ name: 'a', text: 'b', path: '/' }] }],
    ['a number for a text', { documents: [{ name: 'a', text: 1 }] }],
    ['a list', []],
    ['null', null],
    ['a text', '{"documents":[]}'],
    ['nothing', undefined],
  ])('refuses %s instead of changing it', (_name, args) => {
    const target = call(args)
    expect(target?.rule.name).toBe('process_documents')
    expect(target?.parsed.value).toBeUndefined()
    expect(target?.parsed.issues).not.toHaveLength(0)
  })

  it('freezes around an empty value', () => {
    const tool = defineTool({
      name: 'nullable',
      title: 'Nullable',
      description: 'A test.',
      annotations: {},
      input: z.strictObject({ text: z.string().max(8).nullable() }),
      output: z.strictObject({}),
      longRunning: false,
      run: async () => ({}),
    })
    const rule = rules.tools.get('echo')
    if (rule === undefined) throw new Error('echo has no rule')
    const findNullable = findTarget(
      { ...catalog, tools: [tool] },
      { ...rules, tools: new Map([[tool.name, rule]]) },
    )
    const target = findNullable(
      message('tools/call', { name: tool.name, arguments: { text: null } }),
    )
    expect(target?.parsed.value).toEqual({ text: null })
  })

  it('takes no arguments for none', () => {
    const target = find(message('tools/call', { name: 'whoami' }))
    expect(target).toMatchObject({ args: {}, parsed: { value: {} } })
  })
})
