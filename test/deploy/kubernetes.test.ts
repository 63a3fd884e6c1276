import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { environment } from '../../src/config.ts'
import { ROOT } from '../source-tree.ts'
import { describeWith, programPath } from './programs.ts'
import { isSetting } from './settings.ts'

const overlays = readdirSync(join(ROOT, 'deploy/kubernetes/overlays'))

/** The kinds that may be deployed, each with the module of `kubernetes-types` that describes it. */
const KINDS: ReadonlyMap<string, string> = new Map([
  ['Namespace', 'core/v1'],
  ['ServiceAccount', 'core/v1'],
  ['ConfigMap', 'core/v1'],
  ['Service', 'core/v1'],
  ['Deployment', 'apps/v1'],
  ['NetworkPolicy', 'networking/v1'],
  ['PodDisruptionBudget', 'policy/v1'],
  ['HorizontalPodAutoscaler', 'autoscaling/v2'],
])

const meta = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
})
type Manifest = z.output<typeof meta>

const labels = z.record(z.string(), z.string())
const probe = z.strictObject({
  httpGet: z.strictObject({ path: z.string(), port: z.literal('admin') }),
  periodSeconds: z.number(),
  timeoutSeconds: z.number().optional(),
  failureThreshold: z.number(),
})
/** Strict: a field that is not known here is a decision that nobody has reviewed. */
const podSpec = z.strictObject({
  serviceAccountName: z.string(),
  automountServiceAccountToken: z.literal(false),
  enableServiceLinks: z.literal(false),
  terminationGracePeriodSeconds: z.number(),
  securityContext: z.strictObject({
    runAsNonRoot: z.literal(true),
    runAsUser: z.number().min(1000),
    runAsGroup: z.number().min(1000),
    fsGroup: z.number().min(1000),
    seccompProfile: z.strictObject({ type: z.literal('RuntimeDefault') }),
  }),
  topologySpreadConstraints: z.array(z.unknown()),
  containers: z.tuple([
    z.strictObject({
      name: z.string(),
      image: z.string().regex(/^[^@:]+(:[\w.]+)?@sha256:[0-9a-f]{64}$/),
      envFrom: z.tuple([z.strictObject({ configMapRef: z.strictObject({ name: z.string() }) })]),
      ports: z.array(z.strictObject({ name: z.string(), containerPort: z.number() })),
      securityContext: z.strictObject({
        allowPrivilegeEscalation: z.literal(false),
        readOnlyRootFilesystem: z.literal(true),
        capabilities: z.strictObject({ drop: z.tuple([z.literal('ALL')]) }),
      }),
      resources: z.strictObject({
        requests: labels,
        limits: z.strictObject({
          cpu: z.string(),
          memory: z.string(),
          'ephemeral-storage': z.string(),
        }),
      }),
      startupProbe: probe,
      livenessProbe: probe,
      readinessProbe: probe,
      lifecycle: z.strictObject({
        preStop: z.strictObject({ sleep: z.strictObject({ seconds: z.number() }) }),
      }),
      volumeMounts: z.array(
        z.strictObject({ name: z.string(), mountPath: z.string(), readOnly: z.literal(true) }),
      ),
    }),
  ]),
  volumes: z.array(
    z.strictObject({
      name: z.string(),
      secret: z.strictObject({ secretName: z.string(), defaultMode: z.literal(0o440) }),
    }),
  ),
})
const deployment = z.object({
  spec: z.object({
    selector: z.object({ matchLabels: labels }),
    template: z.object({ metadata: z.object({ labels }), spec: podSpec }),
  }),
})
const networkPolicy = z.object({
  metadata: z.object({ name: z.string() }),
  spec: z.strictObject({
    podSelector: z.object({ matchLabels: labels.optional() }),
    policyTypes: z.array(z.string()),
    ingress: z
      .array(
        z.strictObject({
          from: z.array(z.record(z.string(), z.unknown())).min(1),
          ports: z.array(z.object({ port: z.union([z.string(), z.number()]) })).min(1),
        }),
      )
      .default([]),
    egress: z
      .array(
        z.strictObject({
          to: z.array(z.record(z.string(), z.unknown())).min(1),
          ports: z.array(z.object({ port: z.union([z.string(), z.number()]) })).min(1),
        }),
      )
      .default([]),
  }),
})
const configMap = z.object({ data: labels })

/** What `kubectl apply -k` would send, without sending it. */
function render(overlay: string): readonly Manifest[] {
  const folder = join(ROOT, 'deploy/kubernetes/overlays', overlay)
  const text = execFileSync(programPath('kubectl') ?? '', ['kustomize', folder], {
    encoding: 'utf8',
  })
  return parseAllDocuments(text).map((document) => meta.parse(document.toJS()))
}

/** @returns what the types that are made from the API of Kubernetes have against these manifests. */
function typeErrors(manifests: readonly Manifest[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-manifests-'))
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const lines = manifests.map(({ kind, ...rest }, index) => {
      const type = `import('kubernetes-types/${KINDS.get(kind) ?? kind}').${kind}`
      return `export const m${index}: ${type} = ${JSON.stringify({ kind, ...rest })}`
    })
    writeFileSync(join(folder, 'manifests.mts'), `${lines.join('\n')}\n`)
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const options = ['--noEmit', '--strict', '--module', 'esnext', '--moduleResolution', 'bundler']
    execFileSync(process.execPath, [tsc, ...options, '--types', '', 'manifests.mts'], {
      cwd: folder,
      encoding: 'utf8',
    })
    return ''
  } catch (error) {
    return error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describeWith(['kubectl'], 'manifests of Kubernetes', () => {
  describe.each(overlays)('%s', (overlay) => {
    const manifests = render(overlay)
    const of = (kind: string): readonly Manifest[] =>
      manifests.filter((manifest) => manifest.kind === kind)
    const [workload] = of('Deployment').map((manifest) => deployment.parse(manifest))
    const pod = workload?.spec.template.spec
    const container = pod?.containers[0]
    const settings = configMap.parse(of('ConfigMap')[0]).data
    const policies = of('NetworkPolicy').map((manifest) => networkPolicy.parse(manifest))

    it('contract: is what the API of Kubernetes accepts, field by field', () => {
      expect(typeErrors(manifests)).toBe('')
    })

    it('contract: has these kinds, in a namespace of its own', () => {
      expect([...new Set(manifests.map(({ kind }) => kind))].sort()).toEqual(
        [...KINDS.keys()].sort(),
      )
      const [namespace] = of('Namespace')
      const elsewhere = manifests.filter(
        ({ kind, metadata }) =>
          kind !== 'Namespace' && metadata.namespace !== namespace?.metadata.name,
      )
      expect(elsewhere.map(({ kind }) => kind)).toEqual([])
      expect(namespace?.metadata['labels']).toMatchObject({
        'pod-security.kubernetes.io/enforce': 'restricted',
      })
    })

    it('threat: a pod that was taken over, it holds a token of the cluster', () => {
      expect(pod?.automountServiceAccountToken).toBe(false)
      expect(of('ServiceAccount')).toEqual([
        expect.objectContaining({ automountServiceAccountToken: false }),
      ])
    })

    it('threat: code that runs in the pod, it reaches for more', () => {
      expect(pod?.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      expect(container?.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      expect(container?.resources.limits).toEqual({
        cpu: expect.stringMatching(/^\d+m?$/),
        memory: expect.stringMatching(/^\d+[MG]i$/),
        'ephemeral-storage': expect.stringMatching(/^\d+[MG]i$/),
      })
    })

    it('threat: a secret in a manifest, whoever reads the repository has it', () => {
      expect(of('Secret')).toEqual([])
      expect(Object.keys(settings).filter((name) => !isSetting(name))).toEqual([])
      expect(settings).not.toHaveProperty('MCP_SECRET')
      expect(settings).not.toHaveProperty('REDIS_URL')
      for (const file of Object.entries(settings).filter(([name]) => name.endsWith('_FILE'))) {
        expect(file[1]).toMatch(/^\/run\/secrets\/gatehouse\//)
      }
      expect(container?.volumeMounts.map(({ mountPath }) => mountPath)).toEqual([
        '/run/secrets/gatehouse',
      ])
    })

    it('contract: the trail goes to standard output, and has no place in the container', () => {
      expect(settings).not.toHaveProperty('MCP_AUDIT_FILE')
      expect(container?.securityContext.readOnlyRootFilesystem).toBe(true)
      expect(container?.volumeMounts.map(({ readOnly }) => readOnly)).toEqual([true])
    })

    it('threat: everything reaches everything, one foothold is enough', () => {
      const [all, own] = policies
      expect(all?.spec).toEqual({
        podSelector: {},
        policyTypes: ['Ingress', 'Egress'],
        ingress: [],
        egress: [],
      })
      expect(policies).toHaveLength(2)
      expect(own?.spec.podSelector.matchLabels).toEqual(workload?.spec.template.metadata.labels)
      const ports = own?.spec.ingress.map(({ ports }) => ports.map(({ port }) => port))
      expect(ports).toEqual([['mcp'], ['admin']])
      expect(JSON.stringify(own?.spec.ingress)).not.toContain('ipBlock')
      const metadataService = '169.254.0.0/16'
      expect(JSON.stringify(own?.spec.egress)).toContain(metadataService)
    })

    it('contract: the admin port is asked by the node and the monitoring, through no service', () => {
      expect(container?.livenessProbe.httpGet.path).toBe('/livez')
      expect(container?.readinessProbe.httpGet.path).toBe('/readyz')
      expect(JSON.stringify(of('Service'))).not.toMatch(/admin|9090|LoadBalancer|NodePort/)
      expect(container?.ports).toEqual([
        { name: 'mcp', containerPort: environment.shape.PORT.parse(undefined) },
        { name: 'admin', containerPort: environment.shape.ADMIN_PORT.parse(undefined) },
      ])
    })

    it('contract: a pod that ends has the time that it needs', () => {
      const drain = Number(settings['MCP_DRAIN_SECONDS'])
      const pause = container?.lifecycle.preStop.sleep.seconds ?? 0
      // Until readiness has failed and every proxy has heard of it.
      expect(pause).toBeGreaterThanOrEqual(5)
      expect(pod?.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(pause + drain + 5)
    })

    it('contract: selectors agree, and at least two pods run on settings that are those of a proxy', () => {
      const name = workload?.spec.template.metadata.labels
      expect(workload?.spec.selector.matchLabels).toEqual(name)
      for (const kind of ['PodDisruptionBudget', 'Service']) {
        expect(JSON.stringify(of(kind))).toContain(JSON.stringify(name))
      }
      const autoscaler = z.object({ spec: z.object({ minReplicas: z.number() }) })
      expect(autoscaler.parse(of('HorizontalPodAutoscaler')[0]).spec.minReplicas).toBeGreaterThan(1)
      expect(settings['MCP_BEHIND_TLS_PROXY']).toBe('true')
      expect(settings['MCP_PUBLIC_URL']).toMatch(/^https:\/\/[a-z.]+\/mcp$/)
    })
  })

  it.each([
    ['a misspelled field', { hostNetwrok: true }, 'hostNetwrok'],
    ['a wrong type', { replicas: 'two' }, "'string' is not assignable to type 'number'"],
  ])('contract: the check sees %s', (_name, fault, complaint) => {
    const [good] = render(overlays[0] ?? '').filter(({ kind }) => kind === 'Deployment')
    const { spec } = z.looseObject({ spec: z.looseObject({}) }).parse(good)
    const wrong = meta.parse({ ...good, spec: { ...spec, ...fault } })
    expect(typeErrors([wrong])).toContain(complaint)
  })
})
