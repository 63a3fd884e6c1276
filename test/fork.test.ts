import { appendFileSync, cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { newcomer, stepsOf } from './pages.ts'
import { spawnServer, startServer, stopServers } from './server.ts'

/**
 * Guards against hanging: most of the time is the compiler's, several times over. A step changes the
 * fork, so it cannot be run again.
 */
const STEP = { timeout: 600_000, retry: 0 }
/** Steps that change no code and no policy of the fork. */
const LEAVES_CODE = /^[168]\./

const steps = stepsOf('docs/fork.md')
const days = steps.filter(([heading]) => heading !== 'Upgrades')
const [, upgrade = []] = steps.find(([heading]) => heading === 'Upgrades') ?? []

const person = await newcomer()
const { template } = person
const fork = join(person.folder, 'acme-mcp')
const shell = (text: string, cwd = fork): Promise<string> => person.run(text, cwd)

afterAll(async () => {
  await stopServers()
  await person[Symbol.asyncDispose]()
})

const read = (path: string): string => readFileSync(join(fork, path), 'utf8')
const inFork = { entry: join(fork, 'src/main.ts'), env: { MCP_POLICY_DIR: join(fork, 'policies') } }

/** The fork is whole: it compiles, its policies fit, and its server starts and drains. */
async function expectSound(): Promise<void> {
  await shell(
    `tsc -p . --incremental --tsBuildInfoFile ${person.folder}/types
    npm run policy -- check
    NODE_ENV=development npm run doctor`,
  )
  const server = await startServer(inFork)
  expect(await server.stop()).toBe(0)
}

/** A partner calls the tool with the terminal client and the key of the page. */
async function callTool(): Promise<string> {
  const keys = { MCP_API_KEYS_FILE: join(fork, 'deploy/secrets/access/keys.json') }
  const { url, stop } = await startServer({ ...inFork, env: { ...inFork.env, ...keys } })
  const key = read('deploy/secrets/first-key').trim()
  const answer = await shell(
    `npm run client -- ${url} call opening_hours --args '{"city":"Bern"}' --key ${key}`,
  )
  await stop()
  return answer
}

/** What has to be true after a step, besides that the fork is whole. */
const AFTER = new Map<string, () => Promise<void>>([
  [
    '2. Name it',
    async () => {
      const { call, stop, recorded } = await startServer(inFork)
      expect((await call('whoami', {})).status).toBe(200)
      const start = await recorded((record) => record.metadata.event_code === 'server.start')
      expect(start.metadata.product).toMatchObject({ name: 'acme-mcp', version: '0.1.0' })
      await stop()
    },
  ],
  [
    '3. Delete the samples',
    async () => {
      const samples = "'whoami|process_documents|report'"
      const named = await shell(
        `grep -rlE ${samples} src/tools src/resources src/prompts policies/access.yaml || true`,
      )
      expect(named).toBe('')
    },
  ],
  [
    '5. Your policies',
    async () => {
      expect(read('policies/auth.yaml')).toContain('issuer: "https://auth.acme.example"')
      expect(read('docs/access-matrix.md')).toContain('opening_hours')
      expect(read('tools.manifest.json')).toContain('opening_hours')
    },
  ],
  [
    '6. Your secrets',
    async () => {
      expect(await callTool()).toContain('hours: Saturday, 10 to 16')
      expect(await shell('git status --porcelain deploy')).not.toContain('secrets')
    },
  ],
  ['7. Your tests', async () => expect(await shell('git status --porcelain')).toBe('')],
  [
    '8. What you leave out',
    async () => {
      const released = await shell('git ls-tree -r --name-only release')
      expect(released).toContain('src/main.ts\n')
      expect(released).not.toContain('src/stdio.ts\n')
      expect(await shell('git branch --show-current')).toBe('main\n')
      await shell('git switch --quiet release')
      const server = await startServer(inFork)
      expect(await server.stop()).toBe(0)
      await shell('git switch --quiet main')
    },
  ],
])

describe('contract: docs/fork.md makes a server of your own', () => {
  it('says after which steps more is true', () => {
    const headings = days.map(([heading]) => heading)
    expect(headings).toHaveLength(8)
    expect([...AFTER.keys()].filter((heading) => !headings.includes(heading))).toEqual([])
  })

  it.each(days)('%s', STEP, async (heading, blocks) => {
    const cwd = heading.startsWith('1.') ? person.folder : fork
    for (const block of blocks) await shell(block, cwd)
    if (heading === '4. Your first tool') {
      const server = spawnServer(inFork)
      expect(await server.exited).toBe(78)
      expect(server.stderr()).toMatch(/access\.yaml tools\.opening_hours: has no entry/)
      return
    }
    if (!LEAVES_CODE.test(heading)) await expectSound()
    await AFTER.get(heading)?.()
  })
})

/** Changes a file of the template. */
function change(path: string, from: string | RegExp, to: string): void {
  const text = readFileSync(join(template, path), 'utf8')
  expect(text, path).toMatch(from)
  writeFileSync(join(template, path), text.replace(from, to))
}

/** What the template does between two releases, in files of its own and in those of forks. */
async function releaseTemplate(): Promise<void> {
  change('src/controls/origin-guard.ts', /^\/\*\*$/m, '/** Upgraded. */\n$&')
  change('CHANGELOG.md', '## [Unreleased]\n', '$&\n### Security\n\n- Upgraded.\n')
  change('policies/limits.yaml', 'connections: 6000 ', 'connections: 6001 ')
  change('README.md', /^# .*/, '# Upgraded')
  change('src/tools/echo.ts', "title: 'Echo'", "title: 'Echo upgraded'")
  writeFileSync(
    join(template, 'src/tools/upgraded.ts'),
    readFileSync(join(template, 'src/tools/echo.ts'), 'utf8').replaceAll('echo', 'upgraded'),
  )
  change('src/tools/index.ts', /^import/, "import { upgraded } from './upgraded.ts'\n$&")
  change('src/tools/index.ts', / = \[/, '$&upgraded, ')
  change('test/tools/samples.test.ts', "'echo',", "'upgraded',\n      $&")
  change('policies/access.yaml', /^tools:\n/m, '$&  upgraded: { scopes: [], why: "sample" }\n')
  cpSync(join(template, 'test/tools/echo.test.ts'), join(template, 'test/tools/upgraded.test.ts'))
  change('test/tools/upgraded.test.ts', /\/echo\.ts'/, "/echo.ts' // upgraded")
  change('package.json', '"version": "0.1.0"', '"version": "0.2.0"')
  change('package.json', '"doctor": ', '"upgraded": "true",\n    $&')
  change('package-lock.json', '"version": "0.1.0"', '"version": "0.2.0"')
  await shell('git add . && git commit -qm Release && git tag v0.2.0', template)
}

describe('contract: a fork takes over a release of the template', () => {
  it('without conflicts outside of what it owns, and is whole afterwards', STEP, async () => {
    await releaseTemplate()
    const limits = read('policies/limits.yaml')
    const [merge = '', ...after] = upgrade
    await shell(merge)
    expect(await shell('git diff --name-only --diff-filter=U')).toBe('')
    for (const block of after) await shell(block)

    expect(read('src/controls/origin-guard.ts')).toContain('/** Upgraded. */')
    expect(read('CHANGELOG.md')).toContain('- Upgraded.')
    expect(read('.template')).toBe(await shell('git rev-parse HEAD', template))
    const { name, version, scripts } = JSON.parse(read('package.json'))
    expect({ name, version, scripts }).toMatchObject({
      name: 'acme-mcp',
      version: '0.1.0',
      scripts: { upgraded: 'true', test: expect.stringContaining('test/tool.test.ts') },
    })
    expect(read('policies/limits.yaml')).toBe(limits)
    expect(read('README.md')).toMatch(/^# Acme MCP\n/)
    expect(existsSync(join(fork, 'src/tools/upgraded.ts'))).toBe(false)
    expect(existsSync(join(fork, 'src/tools/echo.ts'))).toBe(false)
    expect(await shell('git log -1 --format=%p')).toMatch(/^\w+ \w+\n$/)
    expect(await shell('git status --porcelain')).toBe('')

    await expectSound()
    expect(await callTool()).toContain('hours: Saturday, 10 to 16')
  })

  it('and the tests of the template, with its samples, pass on it', STEP, async () => {
    await shell('.ci/template-tests test/tools test/controls/origin-guard.test.ts')
    expect(await shell('git worktree list')).not.toMatch(/\n./)
  })

  it('a conflict in a file of the template is left to decide', STEP, async () => {
    const [merge = ''] = upgrade
    appendFileSync(join(fork, 'src/context.ts'), '// Of the fork.\n')
    await shell('git commit -qam "Change the template"')
    appendFileSync(join(template, 'src/context.ts'), '// Of the template.\n')
    await shell('git commit -qam Again && git tag v0.3.0', template)
    await shell(merge.replaceAll('v0.2.0', 'v0.3.0'))
    expect(await shell('git diff --name-only --diff-filter=U')).toBe('src/context.ts\n')
    await shell('git merge --abort')
  })

  it.each([
    ['a key that is new', /^onStoreFailure: .*\n/m, '', /limits\.yaml.* onStoreFailure/],
    [
      'a key that is gone',
      /^onStoreFailure: /m,
      'gone: 1\n$&',
      /limits\.yaml gone: is not known \(line \d+\)/,
    ],
  ])('names %s', async (_name, from, to, said) => {
    const limits = read('policies/limits.yaml')
    writeFileSync(join(fork, 'policies/limits.yaml'), limits.replace(from, to))
    const answer = await shell('npm run policy -- check 2>&1 || echo "exit code $?"')
    expect(answer).toMatch(said)
    expect(answer).toContain('exit code 78')
    writeFileSync(join(fork, 'policies/limits.yaml'), limits)
  })
})
