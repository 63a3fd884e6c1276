import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type ConditionFacts, compileCondition } from '../../src/access/condition.ts'
import type { Identity } from '../../src/context.ts'

const input = z.strictObject({
  amount: z.number().min(0).max(1e6),
  owner: z.string().max(64),
  kind: z.enum(['a', 'b']),
  draft: z.boolean(),
  note: z.string().max(64).optional(),
  target: z.strictObject({ city: z.string().max(64), zip: z.string().max(8).optional() }),
  items: z
    .array(z.strictObject({ name: z.string().max(64), size: z.int(), tag: z.string().optional() }))
    .max(100),
  either: z.union([z.string().max(8), z.int()]),
  labels: z.record(z.string().max(8), z.string().max(8)),
})

const args = {
  amount: 5,
  owner: 'alice',
  kind: 'a',
  draft: false,
  target: { city: 'Bern' },
  items: [
    { name: 'x', size: 1 },
    { name: 'y', size: 2, tag: 't' },
  ],
  either: 'z',
  labels: { color: 'red' },
}

const identity: Identity = {
  principal: {
    kind: 'oauth',
    issuer: 'https://auth.example.com',
    client: 'console',
    subject: 'alice',
    scopes: ['mcp:use', 'reports:read'],
    roles: ['bulk'],
    tenant: null,
  },
  credentialDigest: '',
  credentialId: null,
  expiresAt: null,
  claims: {
    acr: '2',
    auth_time: 1_700_000_000,
    groups: ['ops'],
    authorization_details: [{ type: 'report', actions: ['read'] }],
  },
}

const facts: ConditionFacts = {
  identity,
  args,
  request: { ip: '192.0.2.1', era: 'modern' },
  nowMs: Date.parse('2026-03-02T10:00:00Z'),
}

const holds = (source: string, overrides: Partial<ConditionFacts> = {}): boolean =>
  compileCondition(source, input).holds({ ...facts, ...overrides })

describe('threat: a condition that does not say what its author meant lets callers through', () => {
  it.each([
    ['nothing', '', /./],
    ['what does not parse', 'args.amount <', /./],
    ['a variable that does not exist', 'user.admin', /Unknown variable: user/],
    ['a misspelt field of the principal', "principal.role == 'a'", /No such key: role/],
    ['a misspelt field of the request', "request.address == ''", /No such key: address/],
    ['a misspelt argument', 'args.amonut < 5.0', /No such key: amonut/],
    ['a misspelt argument in brackets', "args['amonut'] < 5.0", /No such key: amonut/],
    ['a misspelt argument after ||', "principal.kind == 'x' || args.nope", /No such key: nope/],
    ['a misspelt argument further in', "args.target.town == ''", /No such key: town/],
    ['a misspelt field of an element', "args.items[0].nome == ''", /No such key: nome/],
    ['a misspelt field of each element', "args.items.all(i, i.nome == '')", /No such key: nome/],
    ['has() of a misspelt argument', 'has(args.nope)', /No such key: nope/],
    ['!has() of a misspelt argument', '!has(args.nope)', /No such key: nope/],
    ['has() of a misspelt argument further in', 'has(args.target.town)', /No such key: town/],
    ['has() misspelt in each element', 'args.items.all(i, !has(i.nome))', /No such key: nome/],
    ['two has(), the second misspelt', 'has(args.note) && has(args.nope)', /No such key: nope/],
    ['has() of no field', 'has(args)', /has/],
    ['a comparison of types that differ', "args.amount == '5'", /no such overload/],
    ['a number without a decimal point', 'args.amount == 5', /no such overload: double == int/],
    ['a number as result', '1', /must be of type bool, not int/],
    ['a text as result', 'args.owner', /must be of type bool, not string/],
    ['whatever a claim is as result', 'principal.claims.admin', /must be of type bool, not dyn/],
    ['the helper of the check itself', 'field_exists(args.note)', /no matching overload/],
    ['dyn(), which hides types', 'dyn(args).nope == 1', /dyn\(\) is not allowed/],
    ['a variable hidden by an element', 'args.items.all(principal, true)', /cannot be the name/],
  ])('refuses %s', (_name, source, message) => {
    expect(() => compileCondition(source, input)).toThrow(message)
  })

  it.each([
    ['an absent argument', "args.note == ''", {}],
    ['an absent argument, negated', "args.note != 'secret'", {}],
    ['an absent argument, negated outside', "!(args.note == 'secret')", {}],
    ['an absent claim', "principal.claims.level != '0'", {}],
    ['a claim of another type', "principal.claims.acr > 1.0 && 'bulk' in principal.roles", {}],
    ['an inherited name as claim', "principal.claims.constructor != '0'", {}],
    ['an element beyond the list', "args.items[9].name != 'x'", {}],
    ['a tenant that is null, as text', "principal.tenant.startsWith('a')", {}],
    ['arguments that are not there', 'args.amount < 10.0', { args: undefined }],
    ['arguments of another shape', 'args.amount < 10.0', { args: { amount: 'low' } }],
    ['an argument that is undefined', "args.note != 'x'", { args: { ...args, note: undefined } }],
    ['a division by zero', '1 / (args.items.size() - 2) != 7', {}],
  ])('denies when it meets %s', (_name, source, overrides) => {
    expect(holds(source, overrides)).toBe(false)
  })

  it('does not take inherited names for fields', () => {
    expect(holds('has(principal.claims.constructor)')).toBe(false)
    expect(holds('has(principal.claims.__proto__)')).toBe(false)
    expect(holds("'toString' in principal.claims")).toBe(false)
    expect(holds('has(args.labels.toString)')).toBe(false)
    expect(holds('has(args.labels.color)')).toBe(true)
  })
})

describe('threat: a condition blocks the event loop on hostile input', () => {
  it.each([
    ['matches', "args.owner.matches('^(a+)+$')", /matches\(\) is not allowed/],
    ['matches on what is not an argument', "principal.subject.matches('a')", /not allowed/],
    ['matches inside has()', "has(args.note) && args.note.matches('a')", /not allowed/],
    ['all in all', 'args.items.all(a, args.items.all(b, b.size > a.size))', /must not be/],
    ['exists in filter', "args.items.filter(a, ['x'].exists(b, b == a.name)).size() > 0", /nested/],
    ['exists in the list of filter', "['x'].all(a, ['y'].filter(b, true).size() > 0)", /nested/],
    ['a list of args for each element', 'args.items.all(i, i in args.items)', /args must not/],
    ['args for each element in map', 'args.items.map(i, args.items).size() > 0', /args must not/],
    ['args under another name', 'cel.bind(x, args.items, x.all(i, i in x))', /not allowed/],
    ['a long list made of a text', "args.owner.split('').all(c, c == 'a')", /split\(\) is not/],
    ['a duration from an argument', "duration(args.owner) < duration('1h')", /needs a literal/],
    ['an expression without end', Array(400).fill('true').join(' && '), /maxAstNodes/],
    ['brackets without end', `${'('.repeat(40)}true${')'.repeat(40)}`, /maxDepth/],
  ])('refuses %s', (_name, source, message) => {
    expect(() => compileCondition(source, input)).toThrow(message)
  })

  it.each([
    ['one comprehension', "args.items.all(i, i.name != 'q')"],
    ['one after another', 'args.items.filter(i, i.size > 1.0).map(i, i.name).exists(n, n == "y")'],
    [
      'two beside each other',
      'args.items.exists(i, i.size > 1.0) && args.items.all(i, i.size > 0.0)',
    ],
    ['elements compared with the principal', 'args.items.all(i, i.name != principal.subject)'],
    ['a literal duration', "now - timestamp('2026-03-02T09:00:00Z') == duration('1h')"],
  ])('lets through %s', (_name, source) => {
    expect(holds(source)).toBe(true)
  })
})

describe('contract: conditions', () => {
  it.each([
    ["args.items.size() <= 50 || 'bulk' in principal.roles", true],
    ["args.items.size() > 50 && 'bulk' in principal.roles", false],
    ['args.amount <= 5.0', true],
    ['args.amount <= 4.0', false],
    ['args.owner == principal.subject', true],
    ["args.kind == 'b'", false],
    ['!args.draft', true],
    ["has(args.note) && args.note == 'x'", false],
    ["!has(args.note) || args.note == 'x'", true],
    ["has(args.target.city) && args.target.city == 'Bern'", true],
    ["args.items[1].tag == 't'", true],
    ['args.items.exists(i, has(i.tag))', true],
    ['args.items.all(i, has(i.tag))', false],
    ["args.either == 'z'", true],
    ["args.labels.color == 'red'", true],
    ["principal.kind == 'oauth' && principal.issuer == 'https://auth.example.com'", true],
    ["'reports:read' in principal.scopes", true],
    ["'reports' in principal.scopes", false],
    ['principal.tenant == null', true],
    ["principal.claims.acr == '2' && 'ops' in principal.claims.groups", true],
    ['double(principal.claims.auth_time) > 1600000000.0', true],
    ["principal.claims.authorization_details.exists(d, d.type == 'report')", true],
    ["principal.claims.authorization_details.exists(d, 'delete' in d.actions)", false],
    ["request.ip == '192.0.2.1' && request.era == 'modern'", true],
    ['now.getHours() >= 8 && now.getHours() < 18', true],
    ["now.getHours('Asia/Tokyo') == 19", true],
    ["now > timestamp('2027-01-01T00:00:00Z')", false],
  ])('%s', (source, expected) => {
    expect(holds(source)).toBe(expected)
  })

  it.each([
    ['args.amount > 1.0', true],
    ["'bulk' in principal.roles || args.items.exists(i, i.size > 1.0)", true],
    ['has(args.note)', true],
    ["'args' in principal.roles", false],
    ["principal.claims.args == '1'", false],
  ])('knows whether it mentions args: %s', (source, expected) => {
    expect(compileCondition(source, input).mentionsArgs).toBe(expected)
  })

  it('takes references to a schema from itself as dyn', () => {
    const tree = z.strictObject({
      name: z.string(),
      get children() {
        return z.array(tree).max(3)
      },
    })
    const source = "args.name == 'a' && args.children.all(c, c.name == 'b')"
    const value = { name: 'a', children: [{ name: 'b', children: [] }] }
    expect(compileCondition(source, tree).holds({ ...facts, args: value })).toBe(true)
  })
})
