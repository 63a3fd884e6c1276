import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { startServer, stopServers } from '../server.ts'
import { textOf } from '../source-tree.ts'
import { type Scrape, scrape } from '../telemetry/scrape.ts'

const rule = z.strictObject({
  alert: z.string().regex(/^Gatehouse[A-Z][A-Za-z]+$/),
  expr: z.string(),
  for: z
    .string()
    .regex(/^\d+m$/)
    .optional(),
  labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
  annotations: z.strictObject({ summary: z.string(), description: z.string() }),
})
const ruleFile = z.strictObject({
  groups: z.array(z.strictObject({ name: z.string(), rules: z.array(rule) })),
})
const panel = z.object({
  id: z.number(),
  title: z.string(),
  targets: z.array(z.object({ expr: z.string() })).default([]),
})
const dashboardFile = z.object({ panels: z.array(panel) })

const alerts = parseDocument(textOf('deploy/alerts/gatehouse.yaml'))
const rules = ruleFile.parse(alerts.toJS()).groups.flatMap((group) => group.rules)
const { panels } = dashboardFile.parse(JSON.parse(textOf('deploy/grafana/gatehouse.json')))
const expressions = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const)),
]

/** `docs/observability.md`: type and labels by name. */
const documented = new Map(
  [...textOf('docs/observability.md').matchAll(/^\| `([a-z]\w+)` \| (\w+) \|([^|]*)\|/gm)].map(
    ([, name = '', type = '', labels = '']) => [
      name,
      { type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label) },
    ],
  ),
)

interface Use {
  /** Of the sample: with `_bucket`, `_sum` or `_count` for histograms. */
  readonly name: string
  readonly matchers: readonly {
    readonly label: string
    readonly is: string
    readonly value: string
  }[]
}

const AGGREGATION = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g
const SELECTOR = /\b([a-z_:][\w:]*)\b(?!\s*\()(?:\{([^}]*)\})?/g
const MATCHER = /(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g
const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'sum', 'max', 'min'])

/** What a PromQL expression of these files reads: metrics with their matchers, and labels it groups by. */
function read(expr: string): { readonly uses: readonly Use[]; readonly groupedBy: string[] } {
  const groupedBy = [...expr.matchAll(AGGREGATION)].flatMap(([, list = '']) =>
    list.split(',').map((label) => label.trim()),
  )
  const rest = expr.replaceAll(AGGREGATION, ' ').replaceAll(/\[[^\]]*\]/g, ' ')
  const uses = [...rest.matchAll(SELECTOR)]
    .filter(([, name = '']) => !WORDS.has(name))
    .map(([, name = '', matchers = '']) => ({
      name,
      matchers: [...matchers.matchAll(MATCHER)].map(([, label = '', is = '', value = '']) => ({
        label,
        is,
        value,
      })),
    }))
  return { uses, groupedBy }
}

/** The metric that a sample belongs to. */
function metricOf(sample: string): string {
  const base = sample.replace(/_(?:bucket|sum|count)$/, '')
  return documented.get(base)?.type === 'histogram' ? base : sample
}

/** What Prometheus adds to every sample. */
const ADDED = ['job', 'instance']
/** Labels whose values are all there from the start. */
const CLOSED = ['reason', 'part', 'lane', 'limit', 'kind', 'le']

describe('contract: dashboard, alerts and documentation speak of what the server exports', () => {
  let exported: Scrape
  beforeAll(async () => {
    const server = await startServer()
    await (await server.call('echo', { text: 'a' })).text()
    await (await fetch(server.url, { method: 'POST' })).text()
    await server.recorded(({ http_response: { code } = {} }) => code === 401)
    exported = await scrape(server)
  })
  afterAll(stopServers)

  it('documents every metric with its type, and no other', () => {
    const types = [...documented].map(([name, { type }]) => [name, type] as const)
    expect(new Map(types)).toEqual(new Map(exported.types))
  })

  it('documents every label', () => {
    const undocumented = exported.samples.flatMap(({ name, labels }) => {
      const known = ['le', ...(documented.get(metricOf(name))?.labels ?? [])]
      return Object.keys(labels)
        .filter((label) => !known.includes(label))
        .map((label) => `${name} ${label}`)
    })
    expect(undocumented).toEqual([])
  })

  it.each(expressions)('%s reads metrics and labels that exist: %s', (_name, expr) => {
    const { uses, groupedBy } = read(expr)
    expect(uses.length).toBeGreaterThan(0)
    const known = new Set([...ADDED, 'le'])
    for (const { name, matchers } of uses) {
      if (name === 'up') continue // Of Prometheus.
      const metric = metricOf(name)
      expect([...exported.types.keys()]).toContain(metric)
      if (documented.get(metric)?.type === 'histogram') {
        expect(name).not.toBe(metric)
      }
      const labels = documented.get(metric)?.labels ?? []
      for (const label of labels) known.add(label)
      for (const { label, is, value } of matchers) {
        expect([...ADDED, 'le', ...labels]).toContain(label)
        if (!CLOSED.includes(label)) continue
        const wanted = is.endsWith('~') ? value.split(/\|(?![^(]*\))/) : [value]
        for (const one of wanted) {
          const pattern = new RegExp(`^(?:${one})$`)
          const found = exported.samples.filter((sample) => sample.name === name)
          expect(found.filter(({ labels: has }) => pattern.test(has[label] ?? '')).length).toBe(1)
        }
      }
    }
    expect(groupedBy.filter((label) => !known.has(label))).toEqual([])
  })

  it('has rules that Prometheus can read, each alert once', () => {
    expect([...alerts.errors, ...alerts.warnings]).toEqual([])
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
    const used = rules.flatMap(({ annotations, expr }) =>
      [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label = '']) => {
        const { uses, groupedBy } = read(expr)
        const aggregated = expr.includes('sum')
        const labels = uses.flatMap(({ name }) => documented.get(metricOf(name))?.labels ?? [])
        return (aggregated ? groupedBy : [...ADDED, ...labels]).includes(label)
      }),
    )
    expect(used).not.toContain(false)
  })

  it('has panels with ids and titles of their own', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
    const pictured = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => read(expr).uses))
    const unused = [...documented.keys()].filter(
      (metric) =>
        !/^(?:nodejs|process)_/.test(metric) &&
        !pictured.some(({ name }) => metricOf(name) === metric),
    )
    expect(unused).toEqual([])
  })
})

describe('contract: the reader of expressions sees what it has to', () => {
  it.each([
    ['up == 0', ['up'], []],
    ['sum by (a, b) (rate(x_total{c="d"}[5m]))', ['x_total'], ['a', 'b']],
    [
      'histogram_quantile(0.99, sum by (le) (rate(x_bucket[$__rate_interval])))',
      ['x_bucket'],
      ['le'],
    ],
    ['a / ignoring (l) b{l="x"} > 0.8', ['a', 'b'], ['l']],
    ['a{x=~"b|c", y!=""} and on (z) d', ['a', 'd'], ['z']],
  ])('%s', (expr, names, groupedBy) => {
    const found = read(expr)
    expect(found.uses.map(({ name }) => name)).toEqual(names)
    expect(found.groupedBy).toEqual(groupedBy)
  })
})
