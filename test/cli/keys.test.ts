// optional: api-key
import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { apiKey, parseKey } from '../../src/auth/api-key.ts'
import { type KeyRecord, loadKeys } from '../../src/auth/key-file.ts'
import { DAY_MS, type Ended, GOOD, NOW, newKeyFile, runAt, spawnCommand } from './command.ts'

const HOUR_MS = DAY_MS / 24

let folder: string
let file: string
beforeEach(() => {
  ;({ folder, file } = newKeyFile())
})

const run = (...args: string[]): Ended => runAt(NOW, {}, ...args)
const on = (...args: string[]): Ended => run(...args, '--file', file)

/** Makes a key. @returns it and its id */
function made(...options: string[]): { key: string; id: string } {
  const key = on('create', ...GOOD, ...options).out.trimEnd()
  return { key, id: key.slice(5, 17) }
}

const records = (): readonly KeyRecord[] => loadKeys(file, 730)
const text = (): string => readFileSync(file, 'utf8')

/** Rewrites the only record of the file. */
function change(fields: Partial<KeyRecord>): void {
  const [record] = records()
  writeFileSync(file, JSON.stringify({ keys: [{ ...record, ...fields }] }))
}

/** Whether the server would take a key then. */
async function works(key: string, atMs: number): Promise<boolean> {
  const digest = createHash('sha256').update(key).digest('hex')
  const sent = { scheme: 'bearer', token: key, digest, address: '192.0.2.1' } as const
  return (
    apiKey({ records: records() }).recall({ ...sent, certificate: undefined }, atMs) !== undefined
  )
}

describe('contract: keys create', () => {
  it('makes the file and prints a key that works, and nothing else, on standard output', async () => {
    const { code, out } = on('create', ...GOOD)
    expect(code).toBe(0)
    const token = out.trimEnd()
    expect(out).toBe(`${token}\n`)
    expect(parseKey(token)).toHaveProperty('id')
    expect(await works(token, NOW)).toBe(true)
    expect(records()).toEqual([
      {
        id: token.slice(5, 17),
        name: 'ci',
        sha256: createHash('sha256').update(token).digest('hex'),
        subject: 'ci',
        tenant: null,
        roles: [],
        scopes: ['mcp:use', 'documents:process'],
        createdAt: '2026-01-01T00:00:00.000Z',
        expiresAt: '2026-04-01T00:00:00.000Z',
        allowedCidrs: [],
        revokedAt: null,
      },
    ])
  })

  it('grants what its options say', () => {
    const more = ['--tenant', 't1', '--roles', 'bulk audit', '--networks', '10.0.0.0/8 ::1/128']
    on('create', ...GOOD, '--subject', 'build', ...more)
    expect(records()).toMatchObject([
      {
        subject: 'build',
        tenant: 't1',
        roles: ['bulk', 'audit'],
        allowedCidrs: ['10.0.0.0/8', '::1/128'],
      },
    ])
  })

  it('adds to what is there', () => {
    made('--subject', 'build')
    made('--subject', 'build', '--name', 'ci 2')
    expect(records().map(({ name, subject }) => [name, subject])).toEqual([
      ['ci', 'build'],
      ['ci 2', 'build'],
    ])
  })

  it('runs as a command, on the key file that the environment names', async () => {
    const { code, out } = await spawnCommand(['create', ...GOOD], { MCP_API_KEYS_FILE: file })
    expect(code).toBe(0)
    expect(parseKey(out.trimEnd())).toHaveProperty('id')
    expect(on('list').out).toContain('live')
  })
})

describe('contract: a key lives as long as policy allows, or the server would refuse the whole file', () => {
  function policyOf(maxLifetimeDays: number): { policyDir: string } {
    const shipped = readFileSync(join(import.meta.dirname, '../../policies/auth.yaml'), 'utf8')
    expect(shipped).toContain('maxLifetimeDays: 365')
    const edited = shipped.replace('maxLifetimeDays: 365', `maxLifetimeDays: ${maxLifetimeDays}`)
    writeFileSync(join(folder, 'auth.yaml'), edited)
    return { policyDir: folder }
  }
  const create = (days: number, settings: object): Ended =>
    runAt(NOW, settings, 'create', ...GOOD, '--days', String(days), '--file', file)

  it.each([30, 365, 730])('takes %i days from auth.yaml, and not a day more', (allowed) => {
    const settings = policyOf(allowed)
    expect(create(allowed + 1, settings)).toMatchObject({ code: 2, out: '' })
    const { code, err } = create(allowed, settings)
    expect([code, err]).toEqual([0, expect.not.stringContaining('auth.yaml')])
  })

  it('says so where there is no policy to ask, and stops at the most that any allows', () => {
    expect(create(731, { policyDir: folder })).toMatchObject({ code: 2, out: '' })
    const { code, err } = create(730, { policyDir: folder })
    expect(code).toBe(0)
    expect(err).toContain('No auth.yaml in MCP_POLICY_DIR')
  })

  it('makes no key while the policy is wrong, and names what is', () => {
    const settings = policyOf(731)
    const { code, out, err } = create(1, settings)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(/^auth\.yaml apiKeys\.maxLifetimeDays: /)
  })

  it('asks the policies that the environment names, or those of the working directory', async () => {
    const args = ['create', ...GOOD, '--days', '366', '--file', file]
    expect(await spawnCommand(args)).toMatchObject({ code: 2, out: '' })
    const { policyDir } = policyOf(366)
    expect(await spawnCommand(args, { MCP_POLICY_DIR: policyDir })).toMatchObject({ code: 0 })
  })

  it('rotates into no longer life than policy allows today', () => {
    create(90, {})
    const [{ id = '' } = {}] = records()
    expect(runAt(NOW, policyOf(30), 'rotate', id, '--file', file).code).toBe(0)
    expect(records()[1]?.expiresAt).toBe('2026-01-31T00:00:00.000Z')
  })

  it('asks no policy to revoke', () => {
    create(90, {})
    const [{ id = '' } = {}] = records()
    expect(runAt(NOW, policyOf(731), 'revoke', id, '--file', file).code).toBe(0)
  })
})

describe('contract: keys rotate', () => {
  const GRANTS = [
    '--subject',
    's',
    '--tenant',
    't',
    '--roles',
    'bulk',
    '--networks',
    '192.0.2.0/24',
  ]

  it('makes a key with the same grants, which lives as long; both work until the overlap ends', async () => {
    const old = made(...GRANTS)
    const before = records()[0]
    const later = NOW + 30 * DAY_MS
    const { code, out, err } = runAt(later, {}, 'rotate', old.id, '--file', file)
    expect(code).toBe(0)
    const key = out.trimEnd()
    expect(out).toBe(`${key}\n`)
    expect(parseKey(key)).toEqual({ id: records()[1]?.id })
    expect(records()).toEqual([
      { ...before, expiresAt: '2026-02-07T00:00:00.000Z' },
      {
        ...before,
        id: key.slice(5, 17),
        sha256: createHash('sha256').update(key).digest('hex'),
        createdAt: '2026-01-31T00:00:00.000Z',
        expiresAt: '2026-05-01T00:00:00.000Z',
      },
    ])
    expect(err).toContain(
      `Key ${old.id} ends 2026-02-07T00:00:00.000Z (before: ${before?.expiresAt})`,
    )
    expect(err).not.toContain(key)

    const end = later + 7 * DAY_MS
    expect(await Promise.all([works(old.key, end - 1), works(key, end - 1)])).toEqual([true, true])
    expect(await Promise.all([works(old.key, end), works(key, end)])).toEqual([false, true])
  })

  it('makes a key that lives as long again when one in its overlap is rotated once more', () => {
    const { id } = made()
    const [before] = records()
    expect(on('rotate', id, '--overlap-hours', '1').code).toBe(0)
    expect(on('rotate', id).code).toBe(0)
    expect(
      records()
        .map(({ expiresAt }) => expiresAt)
        .slice(1),
    ).toEqual([before?.expiresAt, before?.expiresAt])
  })

  it.each([
    ['1', HOUR_MS],
    ['720', 720 * HOUR_MS],
  ])('ends the old key after an overlap of %s hours', (hours, ms) => {
    const { id } = made()
    expect(on('rotate', id, '--overlap-hours', hours).code).toBe(0)
    expect(records()[0]?.expiresAt).toBe(new Date(NOW + ms).toISOString())
  })

  it('never lets the old key live longer than it did', () => {
    const { id } = made('--days', '1')
    const before = records()[0]?.expiresAt
    const { code, err } = on('rotate', id, '--overlap-hours', '25')
    expect([code, records()[0]?.expiresAt]).toEqual([0, before])
    expect(err).toContain('(as before)')
  })

  it('gives the new key the days that it is told', () => {
    const { id } = made()
    expect(on('rotate', id, '--days', '10').code).toBe(0)
    expect(records()[1]?.expiresAt).toBe('2026-01-11T00:00:00.000Z')
  })

  it('never writes a file that the server would refuse', () => {
    const { id } = made()
    change({ createdAt: '2026-01-01T02:00:00Z' }) // By a clock that is ahead of this one.
    const before = text()
    const { code, out, err } = on('rotate', id, '--overlap-hours', '1')
    expect([code, out, text()]).toEqual([1, '', before])
    expect(err).toContain('--file keys.0.expiresAt: must be after createdAt')
  })

  it.each<[string, Partial<KeyRecord>]>([
    ['revoked', { revokedAt: '2025-12-31T00:00:00Z' }],
    ['expired', { createdAt: '2025-12-01T00:00:00Z', expiresAt: '2026-01-01T00:00:00Z' }],
  ])('gives nobody the grants of a key that is %s', (name, fields) => {
    const { id } = made()
    change(fields)
    const before = text()
    const { code, out, err } = on('rotate', id)
    expect([code, out, text()]).toEqual([1, '', before])
    expect(err).toContain(name)
  })
})

describe('contract: keys revoke', () => {
  it('ends a key at once, and no other', async () => {
    const first = made()
    const second = made()
    const { code, out, err } = on('revoke', first.id)
    expect([code, out]).toEqual([0, ''])
    expect(err).toBe(`Key ${first.id} (name ci, subject ci) is revoked.\n`)
    expect(records().map(({ revokedAt }) => revokedAt)).toEqual(['2026-01-01T00:00:00.000Z', null])
    expect([await works(first.key, NOW), await works(second.key, NOW)]).toEqual([false, true])
  })

  it('may be said twice: the first time counts', () => {
    const { id } = made()
    on('revoke', id)
    const before = text()
    const { code, out, err } = runAt(NOW + DAY_MS, {}, 'revoke', id, '--file', file)
    expect([code, out, text()]).toEqual([0, '', before])
    expect(err).toContain('has been revoked since 2026-01-01T00:00:00.000Z')
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })
})

describe('contract: an id is exact', () => {
  it.each(['rotate', 'revoke'])('%s takes a whole key for its id, without saying it', (command) => {
    const { key, id } = made()
    const { code, err } = on(command, key)
    expect(code).toBe(0)
    expect(err).toContain(`its id is ${id}`)
    expect(err).not.toContain(key.slice(18))
    expect(records()[0]).not.toMatchObject({
      revokedAt: null,
      expiresAt: '2026-04-01T00:00:00.000Z',
    })
  })

  const wrong = (key: string): string => key.slice(0, -1) + (key.endsWith('a') ? 'b' : 'a')

  it.each<[string, number, (key: string) => string[]]>([
    ['no id', 2, () => []],
    ['an empty id', 2, () => ['']],
    ['the first half of an id', 2, (key) => [key.slice(5, 11)]],
    ['an id without its last character', 2, (key) => [key.slice(5, 16)]],
    ['an id and a character', 2, (key) => [`${key.slice(5, 17)}a`]],
    ['an id with its prefix', 2, (key) => [key.slice(0, 17)]],
    ['an id in capitals', 2, (key) => [key.slice(5, 17).toUpperCase()]],
    ['a key with a wrong character', 2, (key) => [wrong(key)]],
    ['a key without its checksum', 2, (key) => [key.slice(0, -7)]],
    ['the name of a key', 2, () => ['ci']],
    ['constructor', 2, () => ['constructor']],
    ['two ids', 2, (key) => [key.slice(5, 17), key.slice(5, 17)]],
    ['the id of no key', 1, () => ['aaaabbbbcccc']],
  ])('refuses %s', (_name, expected, argumentsOf) => {
    const { key } = made()
    const before = text()
    for (const command of ['rotate', 'revoke']) {
      const { code, out, err } = on(command, ...argumentsOf(key))
      expect([code, out, text()]).toEqual([expected, '', before])
      expect(err).not.toContain(key.slice(18, 40))
    }
  })
})

describe('contract: --dry-run says what would change, changes nothing and makes no key', () => {
  it('says what create would do', () => {
    const { code, out, err } = on('create', ...GOOD, '--networks', '10.0.0.0/8', '--dry-run')
    expect([code, out, readdirSync(folder)]).toEqual([0, '', []])
    expect(err).toContain('Dry run, nothing has changed.')
    expect(err).toContain(
      'The new key has the name ci, the subject ci, no tenant, the roles none, the scopes mcp:use documents:process, may be used from 10.0.0.0/8, and ends 2026-04-01T00:00:00.000Z.\n',
    )
    expect(err).not.toMatch(/mcpk_\w{12}|shown only now/)
  })

  it.each(['rotate', 'revoke'])('says what %s would do', (command) => {
    const { id } = made()
    const before = text()
    const dry = on(command, id, '--dry-run')
    expect([dry.code, dry.out, text(), readdirSync(folder)]).toEqual([0, '', before, ['keys.json']])

    const real = on(command, id)
    const sentences = dry.err.split('\n').filter((line) => /^(Key|The new key) /.test(line))
    expect(sentences.length).toBe(command === 'rotate' ? 2 : 1)
    for (const sentence of sentences) expect(real.err).toContain(sentence)
    expect(text()).not.toBe(before)
  })

  it.each<[string, number, (id: string) => string[]]>([
    ['an id of no key', 1, () => ['revoke', 'aaaabbbbcccc']],
    ['a key that cannot be made', 2, () => ['create', ...GOOD, '--scopes', 'a"b']],
    ['too long an overlap', 2, (id) => ['rotate', id, '--overlap-hours', '721']],
  ])('fails as the command would, for %s', (_name, code, argumentsOf) => {
    const { id } = made()
    const args = argumentsOf(id)
    expect(on(...args, '--dry-run')).toEqual(on(...args))
    expect(on(...args, '--dry-run').code).toBe(code)
  })
})

describe('threat: a key at rest, who reads the file or the terminal becomes its owner', () => {
  it('keeps the digest alone, in a file that only its owner reads', () => {
    const { out, err } = on('create', ...GOOD)
    const secret = out.slice(18, 61)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(text()).not.toContain(secret)
    expect(err).not.toContain(secret)
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })

  it('prints no key when the file cannot be used, and leaves it as it is', () => {
    writeFileSync(file, '{"keys":[{"id":"x"}]}')
    const { code, out, err } = on('create', ...GOOD)
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('--file keys.0.id: ')
    expect(text()).toBe('{"keys":[{"id":"x"}]}')
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })

  it('names the setting when the file comes from there', () => {
    writeFileSync(file, '{"keys":[{"id":"x"}]}')
    const { code, err } = runAt(NOW, { apiKeysFile: file }, 'list')
    expect(code).toBe(1)
    expect(err).toContain('MCP_API_KEYS_FILE keys.0.id: ')
  })
})

describe('contract: usage errors exit 2 and say what to do', () => {
  it.each([
    ['no command', []],
    ['another command', ['delete', '--file', 'f']],
    ['constructor', ['constructor']],
    ['no file', ['create', ...GOOD]],
    ['an empty file', ['list', '--file', '']],
    ['no name', ['create', '--file', 'f', '--scopes', 'a', '--days', '1']],
    ['no scopes', ['create', '--file', 'f', '--name', 'ci', '--days', '1']],
    ['no days', ['create', '--file', 'f', '--name', 'ci', '--scopes', 'a']],
    ['days of 0', ['create', '--file', 'f', ...GOOD, '--days', '0']],
    ['days of 731', ['create', '--file', 'f', ...GOOD, '--days', '731']],
    ['days that are not a number', ['create', '--file', 'f', ...GOOD, '--days', 'ninety']],
    ['days with a fraction', ['create', '--file', 'f', ...GOOD, '--days', '1.5']],
    ['commas between scopes', ['create', '--file', 'f', ...GOOD, '--scopes', 'mcp:use,b']],
    ['two spaces between scopes', ['create', '--file', 'f', ...GOOD, '--scopes', 'a  b']],
    ['a quote in a scope', ['create', '--file', 'f', ...GOOD, '--scopes', 'a"b']],
    ['a wildcard scope', ['create', '--file', 'f', ...GOOD, '--scopes', '*']],
    ['a line break in the name', ['create', '--file', 'f', ...GOOD, '--name', 'a\nb']],
    ['an empty subject', ['create', '--file', 'f', ...GOOD, '--subject', '']],
    ['an empty tenant', ['create', '--file', 'f', ...GOOD, '--tenant', '']],
    ['an empty role', ['create', '--file', 'f', ...GOOD, '--roles', '']],
    ['an empty network', ['create', '--file', 'f', ...GOOD, '--networks', '']],
    ['a network that is an address', ['create', '--file', 'f', ...GOOD, '--networks', '10.0.0.1']],
    ['an unknown option', ['create', '--file', 'f', ...GOOD, '--forever', 'yes']],
    ['an option without a value', ['create', '--file']],
    ['an argument too many', ['list', '--file', 'f', 'mcpk_secret']],
    ['list with an option of create', ['list', '--file', 'f', '--days', '1']],
    ['list with a dry run', ['list', '--file', 'f', '--dry-run']],
    ['an overlap of 0 hours', ['rotate', 'abcdefghijkl', '--file', 'f', '--overlap-hours', '0']],
    [
      'an overlap of 721 hours',
      ['rotate', 'abcdefghijkl', '--file', 'f', '--overlap-hours', '721'],
    ],
    ['a rotation with other scopes', ['rotate', 'abcdefghijkl', '--file', 'f', '--scopes', 'a']],
    ['nothing to derive', ['derive']],
    ['the derivation of another key', ['derive', 'request-state']],
  ])('refuses %s', (_name, args) => {
    const { code, out, err } = run(...args)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('Usage:')
    expect(err).not.toContain('mcpk_secret')
    expect(existsSync('f')).toBe(false)
  })

  it('names the option, not the field of the file', () => {
    expect(on('create', ...GOOD, '--networks', 'here').err).toMatch(
      /^--networks must be a network/m,
    )
    expect(on('create', ...GOOD, '--tenant', '').err).toMatch(/^--tenant must be 1 to 255/m)
  })

  it.each(['1', '730'])('lets %s days through', (days) => {
    expect(on('create', ...GOOD, '--days', days).code).toBe(0)
  })

  it('says what to do when nobody names a key file', () => {
    expect(run('list').err).toContain('MCP_API_KEYS_FILE')
  })
})

describe('contract: keys list', () => {
  /** Five records: what is left is 90 days, 14 days, an hour, nothing, nothing. */
  function five(): string {
    const { id } = made()
    const [record] = records()
    const other = (name: string, fields: object): object => ({ ...record, id: name, ...fields })
    const past = { createdAt: '2025-12-01T00:00:00Z', expiresAt: '2025-12-31T00:00:00Z' }
    const all = [
      record,
      other('abcdefghijkl', { expiresAt: '2026-01-15T00:00:00Z' }),
      other('abcdefghijkm', { expiresAt: '2026-01-01T01:59:59Z' }),
      other('abcdefghijkn', past),
      other('abcdefghijko', { revokedAt: '2026-01-01T00:00:00Z' }),
    ]
    writeFileSync(file, JSON.stringify({ keys: all }))
    return id
  }

  it('shows what is needed to decide, without digests', () => {
    const id = five()
    const { code, out } = on('list')
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      'ID            STATE     EXPIRES     LEFT     NAME  SUBJECT  SCOPES',
      `${id}  live      2026-04-01  90 days  ci    ci       mcp:use documents:process`,
      'abcdefghijkl  expiring  2026-01-15  14 days  ci    ci       mcp:use documents:process',
      'abcdefghijkm  expiring  2026-01-01  1 h      ci    ci       mcp:use documents:process',
      'abcdefghijkn  expired   2025-12-31  -        ci    ci       mcp:use documents:process',
      'abcdefghijko  revoked   2026-04-01  -        ci    ci       mcp:use documents:process',
      '',
    ])
    expect(out).not.toContain(records()[0]?.sha256)
  })

  it('gives programs the same as JSON', () => {
    five()
    const { code, out } = on('list', '--json')
    expect(code).toBe(0)
    const expected = records().map(({ sha256: _, ...record }, index) => ({
      ...record,
      state: ['live', 'expiring', 'expiring', 'expired', 'revoked'][index],
      secondsLeft: [90 * 86_400, 14 * 86_400, 7199, 0, 0][index],
    }))
    expect(JSON.parse(out)).toEqual(expected)
  })

  it('exits 1 when there is no file', () => {
    expect(on('list')).toMatchObject({ code: 1, out: '' })
  })
})

describe('contract: keys derive audit-mac', () => {
  const roots = [randomBytes(32), randomBytes(32)] as const
  const expected = roots.map((root) =>
    Buffer.from(hkdfSync('sha256', root, '', 'gatehouse/v1/audit-mac', 32)),
  )
  const base64 = roots.map((root) => root.toString('base64')).join(' ')

  it.each<[string, () => Record<string, string>]>([
    ['MCP_SECRET', () => ({ MCP_SECRET: base64 })],
    [
      'MCP_SECRET_FILE',
      () => {
        writeFileSync(join(folder, 'secret'), `${base64}\n`)
        return { MCP_SECRET_FILE: join(folder, 'secret') }
      },
    ],
  ])('prints the key of each root of %s, and nothing else, on standard output', async (_n, env) => {
    const { code, out, err } = await spawnCommand(['derive', 'audit-mac'], env())
    expect([code, out]).toEqual([0, expected.map((key) => `${key.toString('base64')}\n`).join('')])
    for (const key of expected) {
      expect(err).toContain(createHash('sha256').update(key).digest('hex').slice(0, 16))
      expect(err).not.toContain(key.toString('base64'))
    }
    expect(err).toContain('and forge it')
    for (const root of roots) expect(out + err).not.toContain(root.toString('base64'))
  })

  it.each(['args', 'principal', 'request-state', 'session', 'constructor', ''])(
    'gives out no other key: %j',
    async (purpose) => {
      const { code, out, err } = await spawnCommand(['derive', purpose], { MCP_SECRET: base64 })
      expect([code, out]).toEqual([2, ''])
      expect(err).toMatch(/^derive gives out audit-mac alone/)
    },
  )

  it.each<[string, Record<string, string>, string]>([
    ['no secret', {}, 'MCP_SECRET'],
    ['a short secret', { MCP_SECRET: 'c2hvcnQ=' }, 'MCP_SECRET'],
    ['a file that is not there', { MCP_SECRET_FILE: '/nowhere/secret' }, 'MCP_SECRET_FILE'],
    ['both', { MCP_SECRET: base64, MCP_SECRET_FILE: '/nowhere/secret' }, 'MCP_SECRET_FILE'],
  ])('refuses %s', async (_name, env, field) => {
    const { code, out, err } = await spawnCommand(['derive', 'audit-mac'], env)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(new RegExp(`^${field}: `))
    for (const value of Object.values(env)) expect(err).not.toContain(value)
  })
})
