import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { ConditionFacts } from '../../src/access/condition.ts'
import { compileRules, decide, mayList, type Rule } from '../../src/access/rules.ts'
import { type Catalog, definePrompt, defineResource, defineTool } from '../../src/define.ts'
import { type AccessEntry, type AccessPolicy, loadPolicies } from '../../src/policy.ts'
import { type Problem, Problems } from '../../src/problems.ts'
import { prompts } from '../../src/prompts/index.ts'
import { resources } from '../../src/resources/index.ts'
import { tools } from '../../src/tools/index.ts'

const BASE = 'mcp:use'
const text = z.string().max(8)

const tool = (name: string, input: z.ZodObject = z.strictObject({}), description = 'A test.') =>
  defineTool({
    name,
    title: name,
    description,
    annotations: {},
    input,
    output: z.strictObject({}),
    longRunning: false,
    run: async () => ({}),
  })

const resource = (uriTemplate: string, params: z.ZodObject = z.strictObject({ id: text })) =>
  defineResource({
    uriTemplate,
    name: 'thing',
    title: 'Thing',
    description: 'A test.',
    mimeType: 'text/plain',
    params,
    read: async () => undefined,
    list: async () => [],
  })

const prompt = (name: string, input: z.ZodObject = z.strictObject({ id: text })) =>
  definePrompt({
    name,
    title: name,
    description: 'A test.',
    input,
    render: async () => undefined,
  })

const entry = (overrides: Partial<AccessEntry> = {}): AccessEntry => ({
  scopes: [],
  listed: false,
  timeoutSeconds: 60,
  why: 'a test',
  ...overrides,
})

function problemsOf(catalog: Partial<Catalog>, access: Partial<AccessPolicy>): readonly Problem[] {
  try {
    compileRules({ tools: {}, resources: {}, prompts: {}, ...access }, BASE, {
      tools: [],
      resources: [],
      prompts: [],
      ...catalog,
    })
  } catch (error) {
    if (error instanceof Problems) return error.problems
    throw error
  }
  return []
}

/** The rule of one tool. */
function ruleOf(overrides: Partial<AccessEntry>, input?: z.ZodObject): Rule {
  const access = { tools: { thing: entry(overrides) }, resources: {}, prompts: {} }
  const catalog = { tools: [tool('thing', input)], resources: [], prompts: [] }
  const rule = compileRules(access, BASE, catalog).tools.get('thing')
  if (rule === undefined) throw new Error('no rule')
  return rule
}

function factsOf(scopes: readonly string[], args?: Record<string, unknown>): ConditionFacts {
  return {
    identity: {
      principal: {
        kind: 'api-key',
        issuer: 'gatehouse',
        client: '',
        subject: 'alice',
        scopes,
        roles: [],
        tenant: null,
      },
      credentialDigest: '',
      credentialId: null,
      expiresAt: null,
      claims: {},
    },
    args,
    request: { ip: '192.0.2.1', era: 'modern' },
    nowMs: 0,
  }
}

describe('threat: something is served that no policy speaks of, or a policy of nothing', () => {
  it.each<[string, Partial<Catalog>, Partial<AccessPolicy>, string]>([
    ['a tool without an entry', { tools: [tool('a')] }, {}, 'access.yaml tools.a'],
    [
      'a resource without an entry',
      { resources: [resource('a://{id}')] },
      {},
      'access.yaml resources.a://{id}',
    ],
    ['a prompt without an entry', { prompts: [prompt('a')] }, {}, 'access.yaml prompts.a'],
    [
      'a tool whose entry is a prompt',
      { tools: [tool('a')] },
      { prompts: { a: entry() } },
      'access.yaml tools.a',
    ],
    ['an entry without a tool', {}, { tools: { a: entry() } }, 'access.yaml tools.a'],
    [
      'an entry without a resource',
      {},
      { resources: { 'a://{id}': entry() } },
      'access.yaml resources.a://{id}',
    ],
    ['an entry without a prompt', {}, { prompts: { a: entry() } }, 'access.yaml prompts.a'],
    [
      'an entry in another case',
      { tools: [tool('a')] },
      { tools: { A: entry(), a: entry() } },
      'access.yaml tools.A',
    ],
    ['an inherited name', { tools: [tool('constructor')] }, {}, 'access.yaml tools.constructor'],
    [
      'two tools of one name',
      { tools: [tool('a'), tool('a')] },
      { tools: { a: entry() } },
      'access.yaml tools.a',
    ],
    [
      'two resources of one template',
      { resources: [resource('a://{id}'), resource('a://{id}')] },
      { resources: { 'a://{id}': entry() } },
      'access.yaml resources.a://{id}',
    ],
    ['a name in upper case', { tools: [tool('Echo')] }, { tools: { Echo: entry() } }, 'tool Echo'],
    [
      'a name with a hyphen',
      { prompts: [prompt('a-b')] },
      { prompts: { 'a-b': entry() } },
      'prompt a-b',
    ],
    [
      'a name that begins with a digit',
      { tools: [tool('1a')] },
      { tools: { '1a': entry() } },
      'tool 1a',
    ],
    [
      'a name of 65 characters',
      { tools: [tool('a'.repeat(65))] },
      { tools: { ['a'.repeat(65)]: entry() } },
      `tool ${'a'.repeat(65)}`,
    ],
    [
      'a tool without description',
      { tools: [tool('a', undefined, ' ')] },
      { tools: { a: entry() } },
      'tool a',
    ],
    [
      'a template with an expression',
      { resources: [resource('a://{+id}', z.strictObject({}))] },
      { resources: { 'a://{+id}': entry() } },
      'resource a://{+id}',
    ],
    [
      'a template without scheme',
      { resources: [resource('{id}')] },
      { resources: { '{id}': entry() } },
      'resource {id}',
    ],
    [
      'a template with two variables in one segment',
      { resources: [resource('a://{id}{x}', z.strictObject({ id: text, x: text }))] },
      { resources: { 'a://{id}{x}': entry() } },
      'resource a://{id}{x}',
    ],
    [
      'a template of nothing',
      { resources: [resource('a://', z.strictObject({}))] },
      { resources: { 'a://': entry() } },
      'resource a://',
    ],
    [
      'a variable without a parameter',
      { resources: [resource('a://{x}')] },
      { resources: { 'a://{x}': entry() } },
      'resource a://{x}',
    ],
    [
      'a condition that does not compile',
      { tools: [tool('a')] },
      { tools: { a: entry({ when: 'args.nope' }) } },
      'access.yaml tools.a.when',
    ],
    [
      'a condition of a resource that does not compile',
      { resources: [resource('a://{id}')] },
      { resources: { 'a://{id}': entry({ when: 'args.nope' }) } },
      'access.yaml resources.a://{id}.when',
    ],
  ])('refuses %s', (_name, catalog, access, field) => {
    const fields = problemsOf(catalog, access).map((problem) => problem.field)
    expect(fields.length).toBeGreaterThan(0)
    expect(new Set(fields).has(field)).toBe(true)
    expect(fields.every((name) => name === field || name.startsWith('access.yaml'))).toBe(true)
  })

  it('accepts the same when policy and catalog fit', () => {
    const problems = problemsOf(
      { tools: [tool('a')], resources: [resource('a://{id}')], prompts: [prompt('a')] },
      {
        tools: { a: entry({ when: "principal.subject != ''" }) },
        resources: { 'a://{id}': entry({ when: "args.id != ''" }) },
        prompts: { a: entry() },
      },
    )
    expect(problems).toEqual([])
  })

  it('reports everything at once', () => {
    const problems = problemsOf(
      { tools: [tool('a'), tool('B')], prompts: [prompt('c', z.strictObject({ x: z.string() }))] },
      { tools: { a: entry({ when: 'nope' }), d: entry() } },
    )
    expect(problems.map(({ field }) => field).sort()).toEqual([
      'access.yaml prompts.c',
      'access.yaml tools.B',
      'access.yaml tools.a.when',
      'access.yaml tools.d',
      'prompt c input.x',
      'tool B',
    ])
  })
})

describe('threat: what a condition saw is not what runs, or input has no bounds', () => {
  const self = z.strictObject({
    get again() {
      return self.optional()
    },
  })

  it.each<[string, z.ZodObject, string]>([
    ['an object that drops unknown fields', z.object({ a: text }), ''],
    ['an object that keeps unknown fields', z.looseObject({ a: text }), ''],
    ['an object with a catch-all', z.strictObject({}).catchall(text), ''],
    ['a lax object further in', z.strictObject({ a: z.object({ b: text }) }), '.a'],
    [
      'a lax object in a list',
      z.strictObject({ a: z.array(z.object({ b: text })).max(2) }),
      '.a[]',
    ],
    ['a text without max', z.strictObject({ a: z.string() }), '.a'],
    ['a text with a pattern only', z.strictObject({ a: z.string().regex(/^a*$/) }), '.a'],
    ['a text with a min only', z.strictObject({ a: z.string().min(1) }), '.a'],
    ['an optional text without max', z.strictObject({ a: z.string().optional() }), '.a'],
    ['a nullable text without max', z.strictObject({ a: z.string().nullable() }), '.a'],
    ['an e-mail address without max', z.strictObject({ a: z.email() }), '.a'],
    ['a list without max', z.strictObject({ a: z.array(text) }), '.a'],
    ['texts without max in a list', z.strictObject({ a: z.array(z.string()).max(2) }), '.a[]'],
    ['a text without max in a union', z.strictObject({ a: z.union([z.string(), z.int()]) }), '.a'],
    ['a number without bounds', z.strictObject({ a: z.number() }), '.a'],
    ['a number without max', z.strictObject({ a: z.number().min(0) }), '.a'],
    ['a number without min', z.strictObject({ a: z.number().max(9) }), '.a'],
    ['a record', z.strictObject({ a: z.record(text, text) }), '.a'],
    ['anything', z.strictObject({ a: z.any() }), '.a'],
    ['the unknown', z.strictObject({ a: z.unknown() }), '.a'],
    ['a transform', z.strictObject({ a: text.transform((value) => value.length) }), '.a'],
    ['a default', z.strictObject({ a: text.default('x') }), '.a'],
    ['a prefault', z.strictObject({ a: text.prefault('x') }), '.a'],
    ['a catch', z.strictObject({ a: text.catch('x') }), '.a'],
    ['a coercion', z.strictObject({ a: z.coerce.string().max(8) }), '.a'],
    ['a coerced number', z.strictObject({ a: z.coerce.number().min(0).max(9) }), '.a'],
    ['a preprocess', z.strictObject({ a: z.preprocess(String, text) }), '.a'],
    ['a pipe', z.strictObject({ a: text.pipe(text) }), '.a'],
    ['a trim', z.strictObject({ a: text.trim() }), '.a'],
    ['lower case', z.strictObject({ a: text.toLowerCase() }), '.a'],
    ['an optional transform', z.strictObject({ a: text.trim().optional() }), '.a'],
    ['a boolean made of text', z.strictObject({ a: z.stringbool() }), '.a'],
    ['a date', z.strictObject({ a: z.date() }), '.a'],
    ['a schema that comes later', z.strictObject({ a: z.lazy(() => text) }), '.a'],
    ['a schema that contains itself', self, '.again'],
    [
      'a field that every object has',
      z.strictObject({ constructor: text.optional() }),
      '.constructor',
    ],
  ])('refuses %s', (_name, input, path) => {
    const catalog = { tools: [tool('thing', input)] }
    const fields = problemsOf(catalog, { tools: { thing: entry() } }).map(({ field }) => field)
    expect(fields).toEqual([`tool thing input${path}`])
  })

  it('refuses the same in resources and prompts', () => {
    const lax = z.strictObject({ id: z.string() })
    const problems = problemsOf(
      { resources: [resource('a://{id}', lax)], prompts: [prompt('a', lax)] },
      { resources: { 'a://{id}': entry() }, prompts: { a: entry() } },
    )
    expect(problems.map(({ field }) => field)).toEqual([
      'resource a://{id} input.id',
      'prompt a input.id',
    ])
  })

  it('accepts bounded plain data', () => {
    const input = z.strictObject({
      text: text.min(1).describe('A text.'),
      exact: z.string().length(22),
      when: z.iso.datetime().max(40).optional(),
      count: z.int(),
      share: z.number().gt(0).lt(1).nullable(),
      flag: z.boolean(),
      kind: z.enum(['a', 'b']),
      one: z.literal(1),
      none: z.null(),
      list: z
        .array(z.strictObject({ name: text }))
        .max(3)
        .readonly(),
      choice: z.discriminatedUnion('t', [
        z.strictObject({ t: z.literal('a'), a: text }),
        z.strictObject({ t: z.literal('b'), b: z.int() }),
      ]),
      even: z.int().refine((value) => value % 2 === 0),
    })
    expect(problemsOf({ tools: [tool('a', input)] }, { tools: { a: entry() } })).toEqual([])
  })
})

describe('threat: a caller uses a tool without all of its scopes, or against its condition', () => {
  it.each<[string, readonly string[]]>([
    ['no scope', []],
    ['the base scope alone', [BASE]],
    ['all but the base scope', ['reports:read', 'reports:delete']],
    ['one scope of two', [BASE, 'reports:read']],
    ['a prefix of a scope', [BASE, 'reports:read', 'reports']],
    ['a longer scope', [BASE, 'reports:read', 'reports:delete:all']],
    ['a scope in another case', [BASE, 'reports:read', 'Reports:Delete']],
    ['scopes in one text', [`${BASE} reports:read reports:delete`]],
    ['a wildcard', [BASE, 'reports:read', '*', 'reports:*']],
    ['an inherited name', [BASE, 'reports:read', 'constructor']],
  ])('denies %s', (_name, scopes) => {
    const rule = ruleOf({ scopes: ['reports:read', 'reports:delete'] })
    expect(decide(rule, factsOf(scopes, {}))).toEqual({
      allowed: false,
      reason: 'authorize.missing-scope',
    })
    expect(mayList(rule, factsOf(scopes))).toBe(false)
  })

  it('allows a caller who holds all scopes', () => {
    const rule = ruleOf({ scopes: ['reports:read', 'reports:delete'] })
    const facts = factsOf(['other', 'reports:delete', BASE, 'reports:read'], {})
    expect(decide(rule, facts)).toEqual({ allowed: true })
    expect(mayList(rule, facts)).toBe(true)
  })

  it('needs the base scope where the entry names none', () => {
    expect(decide(ruleOf({}), factsOf([], {})).allowed).toBe(false)
    expect(decide(ruleOf({}), factsOf([BASE], {})).allowed).toBe(true)
  })

  it('names the scope first when scope and condition are both missing', () => {
    const rule = ruleOf({ scopes: ['a'], when: 'false' })
    expect(decide(rule, factsOf([BASE], {}))).toMatchObject({ reason: 'authorize.missing-scope' })
    expect(decide(rule, factsOf([BASE, 'a'], {}))).toMatchObject({ reason: 'authorize.condition' })
  })

  it('denies what the condition denies, and what it cannot evaluate', () => {
    const input = z.strictObject({ size: z.int(), note: text.optional() })
    const small = ruleOf({ when: 'args.size < 10.0' }, input)
    expect(decide(small, factsOf([BASE], { size: 9 }))).toEqual({ allowed: true })
    expect(decide(small, factsOf([BASE], { size: 10 })).allowed).toBe(false)
    expect(decide(small, factsOf([BASE], {})).allowed).toBe(false)
    const noted = ruleOf({ when: "args.note != 'x'" }, input)
    expect(decide(noted, factsOf([BASE], { size: 1 })).allowed).toBe(false)
  })

  it('decides a condition without args even when there are none', () => {
    const rule = ruleOf({ when: "principal.subject == 'bob'" })
    expect(decide(rule, factsOf([BASE])).allowed).toBe(false)
    expect(mayList(rule, factsOf([BASE]))).toBe(false)
  })
})

describe('contract: lists and rules', () => {
  const input = z.strictObject({ size: z.int() })

  it('counts a condition on args as true in lists, and for arguments that did not parse', () => {
    const rule = ruleOf({ when: "args.size < 1.0 && principal.subject == 'bob'" }, input)
    expect(mayList(rule, factsOf([BASE], { size: 5 }))).toBe(true)
    expect(decide(rule, factsOf([BASE]))).toEqual({ allowed: true })
    expect(decide(rule, factsOf([BASE], { size: 0 })).allowed).toBe(false)
  })

  it('lists what is `listed` without its scope, and still not against its condition', () => {
    expect(mayList(ruleOf({ scopes: ['a'], listed: true }), factsOf([BASE]))).toBe(true)
    expect(mayList(ruleOf({ scopes: ['a'] }), factsOf([BASE]))).toBe(false)
    expect(mayList(ruleOf({ scopes: ['a'], listed: true, when: 'false' }), factsOf([BASE]))).toBe(
      false,
    )
    expect(decide(ruleOf({ scopes: ['a'], listed: true }), factsOf([BASE], {})).allowed).toBe(false)
  })

  it('puts the base scope first, and no scope twice', () => {
    expect(ruleOf({ scopes: ['b', BASE, 'a'] }).scopes).toEqual([BASE, 'b', 'a'])
  })

  it('compiles the shipped policies for the shipped catalog', () => {
    const dir = fileURLToPath(new URL('../../policies', import.meta.url))
    const { access, auth } = loadPolicies(dir, 'production')
    const rules = compileRules(access, auth.baseScope, { tools, resources, prompts })
    expect([...rules.tools.keys()]).toEqual(tools.map(({ name }) => name))
    expect(rules.tools.get('process_documents')).toMatchObject({
      kind: 'tool',
      scopes: ['mcp:use', 'documents:process'],
      listed: false,
      condition: { mentionsArgs: true },
      timeoutSeconds: 300,
      concurrentCallsPerPrincipal: 4,
      callsPerMinutePerPrincipal: 60,
    })
    expect(rules.resources.get('report://{id}')?.kind).toBe('resource')
    expect(rules.prompts.get('summarize_report')?.kind).toBe('prompt')
    expect(Object.isFrozen(rules.tools.get('echo'))).toBe(true)
  })
})
