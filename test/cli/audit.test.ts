import { spawn } from 'node:child_process'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { audit } from '../../src/cli/audit.ts'
import { headOf, KEY, logOf, OTHER_KEY, PRIVATE_KEY, recordOf, WRITER } from '../audit/log.ts'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-audit-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, content: Buffer | string | readonly Buffer[]): string {
  const path = join(folder, name)
  writeFileSync(
    path,
    Array.isArray(content) ? Buffer.concat(content) : content.toString('latin1'),
    'latin1',
  )
  return path
}

const log = logOf({ records: 28, every: 10, stops: true })
const macKey = file('mac', `${OTHER_KEY.key.toString('base64')}\n${KEY.key.toString('base64')}\n`)
const otherKey = file('other-mac', `${OTHER_KEY.key.toString('base64')}\n`)
const publicPem = String(createPublicKey(PRIVATE_KEY).export({ type: 'spki', format: 'pem' }))
const publicKey = file('public.pem', publicPem)
const privateKey = file('private.pem', String(PRIVATE_KEY.export({ type: 'pkcs8', format: 'pem' })))
const otherKind = file(
  'p256.pem',
  String(
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
      type: 'spki',
      format: 'pem',
    }),
  ),
)
const whole = file('whole.jsonl', log)
const { sequence: last, mac } = headOf(log)

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(args: readonly string[], colors = false): Promise<Ended> {
  const said = { out: '', err: '' }
  const code = await audit(args, {
    out: (text) => {
      said.out += text
    },
    err: (text) => {
      said.err += text
    },
    colors,
    watched: false,
  })
  return { code, ...said }
}

/** In a process of its own. */
function command(args: readonly string[], input: string | Buffer = ''): Promise<Ended> {
  const cli = join(import.meta.dirname, '../../src/cli/audit.ts')
  const child = spawn(process.execPath, [cli, ...args], { env: {}, stdio: 'pipe' })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.err += text
  })
  child.stdin.end(input)
  return new Promise((resolve) => {
    child.once('close', (code) => resolve({ code: code ?? -1, ...said }))
  })
}

describe('contract: audit verify', () => {
  it('counts what is complete and unchanged, for each writer', async () => {
    const { code, out, err } = await run([
      'verify',
      '--mac-key',
      macKey,
      '--public-key',
      publicKey,
      whole,
    ])
    expect([code, err]).toEqual([0, ''])
    expect(out.split('\n').slice(0, 6)).toEqual([
      `${last} records of 1 writer: complete and unchanged.`,
      '',
      `${WRITER}  1 to ${last}  ends with server.stop; signed from 1 to ${last}`,
      '',
      'Heads, for --head of the next verification:',
      `  ${WRITER}:${last}:${mac}`,
    ])
    expect(out).toContain('No chain shows records that were cut off')
  })

  it('says what it could not verify', async () => {
    const cut = file('cut.jsonl', log.slice(0, 15))
    const withKey = await run(['verify', '--mac-key', macKey, cut])
    expect(withKey.out).toContain('15 records of 1 writer')
    expect(withKey.out).toContain('no server.stop')
    expect(withKey.out).toContain('Signatures were not verified')
    const withPublicKey = await run(['verify', '--public-key', publicKey, cut])
    expect([withKey.code, withPublicKey.code]).toEqual([0, 0])
    expect(withPublicKey.out).toContain('11 records of 1 writer: complete and unchanged.')
    expect(withPublicKey.out).toContain('4 records are NOT verified: no signature covers them.')
  })

  it('reads a rotated set in any order, compressed files and standard input', async () => {
    const newest = file('a.jsonl', log.slice(20))
    const oldest = join(folder, 'z.jsonl.2.gz')
    writeFileSync(oldest, gzipSync(Buffer.concat(log.slice(0, 9))))
    const middle = file('m.jsonl.1', log.slice(9, 20))
    const args = ['verify', '--mac-key', macKey, '--public-key', publicKey]
    expect((await run([...args, newest, oldest, middle])).code).toBe(0)
    const missing = await run([...args, newest, oldest])
    expect(missing.code).toBe(1)
    expect(missing.out).toBe(
      `${newest}:1: deleted, record 21 of writer ${WRITER}. Records 10 to 20 are missing before it.\n`,
    )
    const piped = await command([...args, middle, oldest, '-'], Buffer.concat(log.slice(20)))
    expect([piped.code, piped.err]).toEqual([0, ''])
  })

  it('names the first damage, and how far the log was in order', async () => {
    const damaged = file('damaged.jsonl', log.with(4, Buffer.from('#\n')))
    const { code, out, err } = await run(['verify', '--mac-key', macKey, damaged])
    expect(code).toBe(1)
    expect(out).toBe(
      `${damaged}:5: not JSON, record 5 of writer ${WRITER}. The line is not JSON.\n`,
    )
    expect(err).toBe('4 records before it are in order. The rest was not verified.\n')
  })

  it('compares with heads, and with a copy of records', async () => {
    const cut = file('cut-again.jsonl', log.slice(0, 15))
    const args = ['verify', '--mac-key', macKey]
    const head = `${WRITER}:${last}:${mac}`
    const kept = file('kept', [log.at(-1) ?? Buffer.alloc(0), log[3] ?? Buffer.alloc(0)])
    const heads = file('heads', `${head}\r\n\n`)
    for (const known of [
      ['--head', head],
      ['--heads', kept],
      ['--heads', heads],
    ]) {
      const { code, out } = await run([...args, ...known, cut])
      expect([code, out.split(',')[0]]).toEqual([1, `${cut}:15: truncated`])
      expect((await run([...args, ...known, whole])).code).toBe(0)
    }
  })

  it('accepts a missing beginning when it is told to', async () => {
    const rest = file('rest.jsonl', log.slice(5))
    expect((await run(['verify', '--mac-key', macKey, rest])).out).toContain(':1: missing start')
    const { code, out } = await run(['verify', '--mac-key', macKey, '--allow-missing-start', rest])
    expect(code).toBe(0)
    expect(out).toContain('begins at 6')
  })

  it('exits 1 for what cannot be read, and says which', async () => {
    const broken = file('broken.gz', 'no gzip')
    for (const [name, code] of [
      [join(folder, 'missing'), 'ENOENT'],
      [broken, 'Z_DATA_ERROR'],
      [folder, 'EISDIR'],
    ] as const) {
      const ended = await run(['verify', '--mac-key', macKey, whole, name])
      expect([ended.code, ended.out]).toEqual([1, ''])
      expect(ended.err).toBe(`${name} cannot be read whole (${code}).\n`)
    }
  })
})

describe('threat: a verification that verifies nothing, an auditor signs off a forged log', () => {
  it('refuses to run without a key', async () => {
    const { code, out, err } = await run(['verify', whole])
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('Without a key nothing can be verified')
  })

  it.each([
    ['an empty key file', ['--mac-key', file('none', '')]],
    ['a key that is too short', ['--mac-key', file('short', 'Y2FuYXJ5\n')]],
    ['a key in another spelling', ['--mac-key', file('odd', ` ${KEY.key.toString('base64')}\n`)]],
    ['a public key as MAC key', ['--mac-key', publicKey]],
    ['a private key as public key', ['--public-key', privateKey]],
    [
      'a private key as public key, beside a MAC key',
      ['--mac-key', macKey, '--public-key', privateKey],
    ],
    ['a public key of another kind', ['--public-key', otherKind]],
    ['text as public key', ['--public-key', macKey]],
    ['a head without mac', ['--mac-key', macKey, '--head', `${WRITER}:1`]],
    ['a file of other heads', ['--mac-key', macKey, '--heads', publicKey]],
    ['an unknown option', ['--mac-key', macKey, '--force']],
    ['a MAC key that is not there', ['--mac-key']],
  ])('refuses %s', async (_name, args) => {
    const { code, out, err } = await run(['verify', ...args, whole])
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('Usage:')
    for (const secret of ['Y2FuYXJ5', KEY.key.toString('base64'), 'PRIVATE KEY']) {
      expect(err).not.toContain(secret)
    }
  })

  it.each([
    ['no command', []],
    ['another command', ['constructor']],
    ['no file', ['verify', '--mac-key', macKey]],
    ['a file twice', ['verify', '--mac-key', macKey, whole, whole]],
  ])('refuses %s', async (_name, args) => {
    expect((await run(args)).code).toBe(2)
  })

  it('finds a log of another key', async () => {
    const { code, out } = await run(['verify', '--mac-key', otherKey, whole])
    expect(code).toBe(1)
    expect(out).toContain(':1: unknown key')
  })

  it('exits 1 when nobody gets the verdict', async () => {
    const cli = join(import.meta.dirname, '../../src/cli/audit.ts')
    const child = spawn(
      '/bin/sh',
      ['-c', '"$0" "$@" > /dev/full', process.execPath, cli, 'verify', '--mac-key', macKey, whole],
      { env: {}, stdio: 'ignore' },
    )
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(1)
  })
})

/** One line of a log, as the server would write it, without a chain. */
function shownLine(changes: object): Buffer {
  const { metadata } = recordOf('decision')
  return Buffer.from(
    `${JSON.stringify({
      metadata: { ...metadata, correlation_uid: 'request-1' },
      time: Date.parse('2026-01-01T00:00:00Z'),
      actor: { user: { uid: 'alice' }, authorizations: [{ decision: 'allowed' }] },
      api: { operation: 'tools/call' },
      src_endpoint: { ip: '192.0.2.7' },
      unmapped: { mcp: { tool: 'echo' } },
      ...changes,
    })}\n`,
  )
}

describe('contract: audit show', () => {
  const denied = shownLine({
    time: Date.parse('2026-01-02T00:00:00Z'),
    metadata: { event_code: 'request', correlation_uid: 'request-2' },
    action_id: 2,
    actor: { user: { uid: 'bob' } },
    http_response: { code: 403 },
    status_detail: 'authorize.missing-scope',
    unmapped: { mcp: { resource: 'report://{id}' } },
  })
  const failed = shownLine({
    time: Date.parse('2026-01-03T00:00:00Z'),
    metadata: { event_code: 'authn.fail' },
    action_id: 2,
    actor: undefined,
    api: undefined,
    user: { name: 'unknown' },
    status_code: 'expired',
    status_detail: 'authenticate.rejected',
    unmapped: {},
    src_endpoint: { ip: '2001:db8::1' },
  })
  const shown = file('shown.jsonl', [shownLine({}), denied, failed])

  it('prints an aligned table, oldest first, and says that it verifies nothing', async () => {
    const { code, out, err } = await run(['show', shown])
    expect(code).toBe(0)
    const lines = out.trimEnd().split('\n')
    const columns = [lines[0]?.indexOf('EVENT') ?? 0, lines[0]?.indexOf('STATUS') ?? 0]
    expect(lines.map((line) => columns.map((at) => line.slice(at).split('  ')[0]))).toEqual([
      ['EVENT', 'STATUS'],
      ['decision', '-'],
      ['request', '403 authorize.missing-scope'],
      ['authn.fail', 'expired authenticate.rejected'],
    ])
    expect(lines[2]?.split(/ {2,}/)).toEqual([
      '2026-01-02T00:00:00.000Z',
      'request',
      'tools/call',
      'report://{id}',
      'denied',
      '403 authorize.missing-scope',
      'bob',
      '192.0.2.7',
      'request-2',
    ])
    expect(err).toContain('does not verify')
  })

  it.each([
    ['--principal', 'bob', [2]],
    ['--tool', 'echo', [1]],
    ['--tool', 'report://{id}', [2]],
    ['--decision', 'allowed', [1]],
    ['--decision', 'denied', [2, 3]],
    ['--event', 'authn.fail', [3]],
    ['--reason', 'authenticate.rejected', [3]],
    ['--address', '192.0.2.7', [1, 2]],
    ['--request', 'request-1', [1]],
    ['--since', '2026-01-02', [2, 3]],
    ['--until', '2026-01-02T00:00:00Z', [1]],
    ['--until', '2026-01-02T01:00:00+00:30', [1, 2]],
    ['--principal', 'constructor', []],
  ])('filters by %s %s', async (option, value, days) => {
    const { out } = await run(['show', option, value, shown])
    const found = [...out.matchAll(/^2026-01-(\d\d)/gm)].map((match) => Number(match[1]))
    expect(found).toEqual(days)
  })

  it('joins filters', async () => {
    const { out } = await run(['show', '--decision', 'denied', '--since', '2026-01-03', shown])
    expect(out.trimEnd().split('\n')).toHaveLength(2)
  })

  it('counts', async () => {
    const { out } = await run(['show', '--counts', 'address', shown])
    expect(out).toBe('           2  192.0.2.7\n           1  2001:db8::1\n')
    expect((await run(['show', shown, '--counts'])).out.split('\n')).toHaveLength(4)
    expect((await run(['show', '--counts', shown, '--decision', 'denied'])).out).toContain(
      '1  request',
    )
  })

  it('prints the records as they are with --json', async () => {
    const { out } = await run(['show', '--json', '--principal', 'bob', shown])
    expect(JSON.parse(out)).toEqual(JSON.parse(denied.toString()))
  })

  it.each([
    ['a decision that is none', ['--decision', 'maybe']],
    ['a time that is none', ['--since', 'yesterday']],
    ['a day that is none', ['--until', '2026-13-01']],
    ['counts and JSON', ['--counts', '--json']],
    ['a key', ['--mac-key', macKey]],
  ])('refuses %s', async (_name, args) => {
    expect((await run(['show', ...args, shown])).code).toBe(2)
  })

  it('ends quietly when its reader has enough', async () => {
    const many = file(
      'many.jsonl',
      Array.from({ length: 5000 }, () => denied),
    )
    const cli = join(import.meta.dirname, '../../src/cli/audit.ts')
    const child = spawn(
      '/bin/sh',
      ['-c', '("$0" "$@"; echo $? >&2) | head -1', process.execPath, cli, 'show', many],
      { env: { PATH: '/usr/bin:/bin' }, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let err = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    await new Promise((resolve) => child.once('close', resolve))
    expect(err.trimEnd().split('\n').at(-1)).toBe('0')
  })
})

describe('threat: text in a log, the terminal of the auditor runs or hides what an attacker wrote', () => {
  const evil = '\u001b[2J\u009b31m\u202e\u0007alice\u2028\ud800'
  const hostile = file('hostile.jsonl', [
    shownLine({ actor: { user: { uid: evil } }, status_detail: `${evil}\r\n2026` }),
    Buffer.from(`\u001b]0;x\u0007\n${'{'.repeat(100_000)}\n[1]\nnull\n{"metadata":{}}\n\n`),
    shownLine({ time: 'x', actor: [1], api: 'x', src_endpoint: { ip: {} }, unmapped: null }),
    shownLine({ time: 1e300 }),
  ])
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are the subject
  const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e\ud800]/

  it.each([
    ['a table', []],
    ['counts', ['--counts', 'principal']],
    ['JSON', ['--json']],
  ])('shows no control character in %s', async (_name, args) => {
    const { code, out, err } = await run(['show', ...args, hostile])
    expect(code).toBe(0)
    expect(out).not.toMatch(UNSAFE)
    expect(out).toContain('alice')
    expect(err).toContain(`6 lines are no records: ${hostile}:2, ${hostile}:3`)
    expect(err).not.toMatch(UNSAFE)
  })

  it('shows none in a file name, and in no damage', async () => {
    const name = file('evil\u001b[2J', [Buffer.from(`${evil}\n`)])
    const { out } = await run(['verify', '--mac-key', macKey, name])
    expect(out).toContain(':1: not JSON')
    expect(out).not.toMatch(UNSAFE)
  })

  it('colours denials on a terminal alone', async () => {
    const some = file('some.jsonl', [shownLine({ action_id: 2, actor: undefined })])
    expect((await run(['show', some])).out).not.toContain('\u001b')
    expect((await run(['show', some], true)).out).toContain('\u001b[31m')
  })
})
