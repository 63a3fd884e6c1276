import { spawnSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { loadSigner } from '../../src/audit/checkpoint.ts'
import { DENIALS, PROTOCOL_ERRORS } from '../../src/errors.ts'
import { secretRing } from '../../src/secrets.ts'
import { linesOfBytes } from '../audit/log.ts'
import { temporaryFolder } from '../audit/pipe.ts'
import { recordProblems } from '../audit/record-check.ts'
import { RECORDS } from '../audit/record-schema.ts'
import { ROOT, textOf } from '../source-tree.ts'
import { type AuditedRun, auditedRun } from './audit-log-run.ts'
import { sectionsOf } from './audit-log-sections.ts'

const PATH = 'docs/audit-log.md'
const PAGE = textOf(PATH)

function has(program: string): boolean {
  const found = spawnSync(program, ['--version']).error === undefined
  if (!found && !process.env['CI']) {
    process.stderr.write(`Not tried: what ${PATH} says of ${program}, for want of it.\n`)
  }
  // Where everything has to be tried, what is missing fails by its name.
  return found || process.env['CI'] !== undefined
}
const hasJq = has('jq')
const hasPython = has('python3')
const hasOpenssl = has('openssl')

let run: AuditedRun
let trail: string
beforeAll(async () => {
  run = await auditedRun()
  trail = readFileSync(join(run.folder, 'audit.jsonl'), 'utf8')
}, 60_000)

/** The code of one language under a heading. */
function codeUnder(heading: string, language: string): readonly string[] {
  const [, section = ''] = PAGE.split(`\n${heading}\n`)
  const end = section.search(/^#{2,3} /m)
  const text = end === -1 ? section : section.slice(0, end)
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
  return blocks.filter(([, name]) => name === language).map(([, , code = '']) => code)
}

/** Runs a command of the page, as the page writes it, where the trail is. */
function shell(
  command: string,
  env: Readonly<Record<string, string>> = {},
  folder = run.folder,
): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', command], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  })
  expect([status, stderr]).toEqual([0, ''])
  return stdout.trimEnd()
}

/** Names and types of all members, so that two records of the same kind are equal. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf)
  if (typeof value !== 'object' || value === null) return typeof value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, shapeOf(member)]))
}

const envelope = z.object({ metadata: z.object({ event_code: z.string() }) })

/** Records as they are, by event, oldest first. */
function byEvent(texts: readonly string[]): ReadonlyMap<string, readonly unknown[]> {
  const records = texts.map((text): unknown => JSON.parse(text))
  return Map.groupBy(records, (record) => envelope.parse(record).metadata.event_code)
}

/** The examples of the page; in place of those of another shape, records of this run. */
function examples(): string {
  const shown = byEvent(codeUnder('## A record of each event', 'json'))
  const records = byEvent(trail.trimEnd().split('\n'))
  return Object.keys(RECORDS)
    .map((code) => {
      const real = records.get(code)?.at(code === 'server.start' ? -1 : 0)
      const [old] = shown.get(code) ?? []
      const isSame = JSON.stringify(shapeOf(old)) === JSON.stringify(shapeOf(real))
      const json = `\`\`\`json\n${formatted(isSame ? old : real)}\`\`\``
      return `<details><summary><code>${code}</code></summary>\n\n${json}\n\n</details>`
    })
    .join('\n\n')
}

function formatted(value: unknown): string {
  const biome = join(ROOT, 'node_modules/.bin/biome')
  const args = ['format', '--stdin-file-path=docs/example.json']
  const { stdout, stderr } = spawnSync(biome, args, {
    cwd: ROOT,
    input: JSON.stringify(value),
    encoding: 'utf8',
  })
  if (stdout === '') throw new Error(stderr)
  return stdout
}

describe('contract: what docs/audit-log.md shows is what the server writes', () => {
  it('has the tables of the schema, and a real record of each event', async () => {
    const sections = new Map(
      Object.entries({
        ...sectionsOf(textOf('docs/audit-event.schema.json')),
        examples: examples(),
      }),
    )
    const page = PAGE.replace(
      /^(<!-- generated: (\w+) -->\n).*?(?=^<!-- end -->$)/gms,
      (_all, begin: string, name: string) => `${begin}\n${sections.get(name)}\n\n`,
    )
    for (const [name, text] of sections) expect(page, name).toContain(text)
    await expect(page).toMatchFileSnapshot(join(ROOT, PATH))
  })

  it('shows a run whose every record follows the schema', () => {
    expect(recordProblems(trail)).toEqual([])
  })

  it('names refusals, controls of refusals, and events that exist', () => {
    const names = [...Object.keys(DENIALS), ...Object.keys(PROTOCOL_ERRORS)]
    const known = new Set([...names, ...names.map((name) => name.replace(/\..*/, '.*'))])
    const named = [...PAGE.matchAll(/`([a-z-]+\.(?:\*|[a-z-]+))`/g)].map(([, name = '']) => name)
    const others = /\.(?:gz|jsonl|pem|pub|yaml|md|message|records|seconds)$/
    const attributes = sectionsOf(textOf('docs/audit-event.schema.json')).attributes
    const unknown = named.filter(
      (name) =>
        !known.has(name) &&
        !(name in RECORDS) &&
        !others.test(name) &&
        !attributes.includes(`\`${name}`),
    )
    expect(unknown).toEqual([])
  })

  it('links headings and pages that exist', () => {
    const links = [...PAGE.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, to = '']) => to)
    const broken = links.filter((link) => {
      const [page = '', anchor] = link.split('#')
      const path = page === '' ? PATH : join(dirname(PATH), page)
      const anchors = [...textOf(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replaceAll(/[^\w\- ]/g, '')
          .replaceAll(' ', '-'),
      )
      return !existsSync(join(ROOT, path)) || (anchor !== undefined && !anchors.includes(anchor))
    })
    expect(links.length).toBeGreaterThan(10)
    expect(broken).toEqual([])
  })
})

/** Each question, the values of its variables, and what comes out; times are `T`. */
const QUESTIONS: readonly (readonly [
  string,
  Readonly<Record<string, string>>,
  readonly string[],
])[] = [
  [
    '1. Who used this tool in the last seven days?',
    { TOOL: 'process_documents' },
    ['1 alice ISSUER allowed', '1 ci gatehouse denied'],
  ],
  [
    '2. What was refused, and why?',
    {},
    ['1 authenticate.throttled', '2 authorize.missing-scope', '4 authenticate.rejected'],
  ],
  [
    '3. Which addresses fail to log in?',
    {},
    ['1 198.51.100.7 revoked', '1 203.0.113.10 expired', '3 203.0.113.9 unknown'],
  ],
  [
    '4. What did this subject do?',
    { SUBJECT: 'alice' },
    [
      ...['whoami', 'echo', 'process_documents'].flatMap((tool) => [
        `T ${tool} allowed`,
        `T ${tool} ok`,
      ]),
      ...['asked', 'ok'].flatMap((end) => ['T delete_report allowed', `T delete_report ${end}`]),
      ...['T straying allowed', 'T straying not-allowed', 'T straying failed'],
      ...['T deaf allowed', 'T deaf timed-out'],
    ],
  ],
  [
    '5. Which calls were allowed and then failed, or have no end?',
    {},
    ['T alice tools/deaf timed-out', 'T alice tools/straying failed'],
  ],
  [
    '6. When did the policy change, and whom did it refuse after that?',
    {},
    [
      'T OLD refuses ci tools/process_documents: authorize.missing-scope',
      'T applied: FROM to TO',
      'T TO refuses ci tools/echo: authorize.missing-scope',
    ],
  ],
  [
    '7. What was to be confirmed, and what became of it?',
    {},
    ['alice delete_report ARGS: asked, ok'],
  ],
  ['8. Who was over a limit?', {}, ['1 203.0.113.9 limits/address-auth authenticate.throttled']],
  [
    '9. When did each server run, how did it end, and is anything missing?',
    {},
    [
      'WRITER T to T, 12 of 12 records, 0 dropped, last: server.stop signal',
      'WRITER T to T, 44 of 44 records, 0 dropped, last: server.stop crash',
    ],
  ],
  [
    '10. Was the same input sent more than once?',
    {},
    [
      '2 tools/delete_report ARGS: alice',
      '2 tools/echo ARGS: alice, ci',
      '2 tools/echo ARGS: ci',
      '2 tools/process_documents ARGS: alice, ci',
    ],
  ],
]

/** What is another in each run gets a name. Lines without an order of their own are sorted. */
function settled(output: string, question: string): readonly string[] {
  const digests = [...new Set(output.match(/\b[0-9a-f]{12}\b/g))]
  const lines = output
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, 'T')
    .replaceAll(/http:\/\/127\.0\.0\.1:\d+/g, 'ISSUER')
    .replaceAll(/\b[0-9a-f]{16}\b/g, 'WRITER')
    .replaceAll(/\b[0-9a-f]{12}\b/g, (digest) =>
      question.startsWith('6') ? (['OLD', 'FROM', 'TO'][digests.indexOf(digest)] ?? '?') : 'ARGS',
    )
    .split('\n')
    .map((line) => line.trim())
  return /^[46]/.test(question) ? lines : lines.toSorted()
}

describe('contract: the ten questions of docs/audit-log.md have answers', () => {
  it('are these', () => {
    const headings = [...PAGE.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading)
    expect(headings).toEqual(QUESTIONS.map(([question]) => question))
  })

  it.runIf(hasJq).each(QUESTIONS)('%s', (question, variables, answer) => {
    const [command = '', ...others] = codeUnder(`### ${question}`, 'sh')
    expect(others).toEqual([])
    expect(settled(shell(command, variables), question)).toEqual(answer)
  })

  it.runIf(hasJq)('1. leaves out what is older', () => {
    const [command = ''] = codeUnder('### 1. Who used this tool in the last seven days?', 'sh')
    const week = 7 * 86_400_000
    const old = trail.replaceAll(/"time":(\d+)/g, (_all, time) => `"time":${Number(time) - week}`)
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'audit.jsonl'), old)
    expect(shell(command, { TOOL: 'process_documents' }, folder.path)).toBe('')
  })

  it.runIf(hasJq)('2., 3. and 8. add up what is counted', () => {
    using folder = temporaryFolder()
    const counted = trail.replaceAll(/"severity_id":2,/g, '$&"count":100,')
    writeFileSync(join(folder.path, 'audit.jsonl'), counted)
    for (const [question, , answer] of [QUESTIONS[1], QUESTIONS[2], QUESTIONS[7]].filter(
      (one) => one !== undefined,
    )) {
      const [command = ''] = codeUnder(`### ${question}`, 'sh')
      const expected = answer.map((line) => line.replace(/^\d+/, (number) => `${number}00`))
      expect(settled(shell(command, {}, folder.path), question)).toEqual(expected.toSorted())
    }
  })

  it.runIf(hasJq)('5. and 9. show a killed process', () => {
    const lines = trail.split('\n')
    const decision = lines.findIndex((line) => line.includes('"event_code":"decision"'))
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'audit.jsonl'), `${lines.slice(0, decision + 1).join('\n')}\n`)
    const answer = (number: string): string => {
      const question = QUESTIONS.map(([text]) => text).find((text) => text.startsWith(number)) ?? ''
      const [command = ''] = codeUnder(`### ${question}`, 'sh')
      return settled(shell(command, {}, folder.path), question).join('\n')
    }
    expect(answer('5.')).toBe('T alice tools/whoami no outcome')
    expect(answer('9.')).toMatch(/, last: decision$/)
  })
})

describe('contract: the chain of docs/audit-log.md can be verified by others', () => {
  const [program = ''] = codeUnder('## The chain, byte by byte', 'python')

  /** Runs the program of the page on a log. */
  function verify(
    log: string | Buffer,
    ...keys: readonly string[]
  ): readonly [number | null, string] {
    using folder = temporaryFolder()
    const file = join(folder.path, 'log')
    writeFileSync(file, log)
    const args = keys.map((key) => (key.startsWith('/') ? key : join(run.folder, key)))
    const { status, stdout, stderr } = spawnSync('python3', ['-c', program, file, ...args], {
      encoding: 'utf8',
    })
    return [status, status === 0 ? stdout : stderr.trimEnd()]
  }

  const WRITER = /^[0-9a-f]{16} (\d+) records, signed up to (\d+)$/gm
  const countsIn = (text: string): readonly (readonly number[])[] =>
    [...text.matchAll(WRITER)].map(([, records, signed]) => [Number(records), Number(signed)])

  it.runIf(hasPython)('by its program, with the MAC key', () => {
    const [status, text] = verify(trail, 'mac-key')
    expect([status, countsIn(text)]).toEqual([
      0,
      [
        [44, 0],
        [12, 0],
      ],
    ])
  })

  it.runIf(hasPython && hasOpenssl)(
    'by its program, with both keys, or with the public key alone',
    () => {
      for (const macKey of ['mac-key', '/dev/null']) {
        const [status, text] = verify(trail, macKey, 'signing.pub')
        expect([status, countsIn(text)]).toEqual([
          0,
          [
            [44, 44],
            [12, 12],
          ],
        ])
      }
    },
  )

  const lines = (): string[] => trail.split(/(?<=\n)/)
  const DAMAGE: readonly (readonly [string, (all: string[]) => readonly string[], RegExp])[] = [
    [
      'an edited record',
      (all) => all.with(5, (all[5] ?? '').replace('alice', 'carol')),
      /line 6: edited/,
    ],
    ['a deleted record', (all) => all.toSpliced(5, 1), /line 6: records are missing/],
    ['a moved record', (all) => all.with(5, all[6] ?? '').with(6, all[5] ?? ''), /line 6: records/],
    ['a record twice', (all) => all.toSpliced(5, 0, all[5] ?? ''), /line 7: records/],
    ['the end of a writer cut off', (all) => all.toSpliced(42, 2), /line 43: missing start/],
    ['a whole writer cut off', (all) => all.slice(44), /line 1: missing start/],
    ['half a line', (all) => [...all, '{"metadata":'], /half a line/],
    ['a line that is none', (all) => all.toSpliced(5, 0, '{}\n', '[]\n'), /line 7: not a record/],
  ]
  it.runIf(hasPython).each(DAMAGE)('and its program finds %s', (_name, damage, message) => {
    const [status, text] = verify(damage(lines()).join(''), 'mac-key')
    expect([status, text]).toEqual([1, expect.stringMatching(message)])
  })

  it.runIf(hasPython && hasOpenssl)(
    'and its program finds an edit with the public key alone',
    () => {
      const edited = lines()
        .with(5, (lines()[5] ?? '').replace('alice', 'carol'))
        .join('')
      expect(verify(edited, '/dev/null', 'signing.pub')).toEqual([1, 'line 44: wrong digest'])
      const signature = trail.replace(/(?<="signature":")./, (first) => (first === 'A' ? 'B' : 'A'))
      const [status, text] = verify(signature, '/dev/null', 'signing.pub')
      expect([status, text]).toEqual([1, expect.stringMatching(/line 44: wrong signature$/)])
    },
  )

  it('by npm run audit', () => {
    const args = [
      'src/cli/audit.ts',
      'verify',
      '--mac-key',
      'mac-key',
      '--public-key',
      'signing.pub',
    ]
    const files = [
      ...args.slice(2).map((one) => (one.startsWith('--') ? one : join(run.folder, one))),
    ]
    const { status, stdout } = spawnSync(
      process.execPath,
      [...args.slice(0, 2), ...files, join(run.folder, 'audit.jsonl')],
      { cwd: ROOT, encoding: 'utf8' },
    )
    expect([status, stdout]).toEqual([
      0,
      expect.stringContaining('56 records of 2 writers: complete'),
    ])
  })

  it('in lines that begin, end and are covered as it says', () => {
    const [key] = readFileSync(join(run.folder, 'mac-key'), 'utf8').split('\n')
    for (const raw of linesOfBytes(Buffer.from(trail))) {
      const line = raw.subarray(0, -1)
      const { metadata, unmapped } = JSON.parse(line.toString())
      const { writer, key: id, prev, mac } = unmapped.chain
      const text = line.toString()
      expect(
        text.startsWith(
          `{"metadata":{"uid":"${writer}-${metadata.sequence}","sequence":${metadata.sequence},"version":"1.8.0","event_code":"${metadata.event_code}"`,
        ),
      ).toBe(true)
      expect(
        text.endsWith(
          `"chain":{"writer":"${writer}","key":"${id}","prev":"${prev}","mac":"${mac}"}}}`,
        ),
      ).toBe(true)
      const covered = line.subarray(0, -76)
      const own = createHmac('sha256', Buffer.from(key ?? '', 'base64')).update(covered)
      expect(own.digest('hex')).toBe(mac)
    }
  })
})

describe('contract: what docs/audit-log.md tells to set up works', () => {
  it.runIf(hasOpenssl)('makes a key for checkpoints', () => {
    const [commands = ''] = codeUnder('## Keys', 'sh')
    using folder = temporaryFolder()
    for (const command of commands.trim().split('\n')) shell(command, {}, folder.path)
    expect(loadSigner(join(folder.path, 'audit-signing.pem')).id).toMatch(/^[0-9a-f]{16}$/)
    expect(readFileSync(join(folder.path, 'audit-signing.pub'), 'utf8')).toContain('PUBLIC KEY')
  })

  it('finds the pseudonym of a subject', () => {
    const root = Buffer.alloc(32, 7)
    const [{ key }] = secretRing([root])('principal')
    const [command = ''] = codeUnder('## Who: clear or pseudonymous', 'sh')
    const path = `${dirname(process.execPath)}:${process.env['PATH']}`
    const secrets = `${root.toString('base64')} ${Buffer.alloc(32, 8).toString('base64')}`
    expect(shell(command, { MCP_SECRET: secrets, PATH: path })).toBe(
      createHmac('sha256', key).update('alice').digest('hex'),
    )
  })

  it('has every stream in its inventory: where it goes, what it has of persons, who reads it', () => {
    const [, section = ''] = PAGE.split('\n## Inventory and retention\n')
    const [, , ...rows] = section.slice(0, section.search(/^## /m)).match(/^\|.*\|$/gm) ?? []
    const cells = rows.map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((text) => text.trim()),
    )
    expect(cells.map(([stream]) => stream)).toEqual([
      'audit log',
      'program log',
      'metrics',
      'traces',
    ])
    for (const row of cells) {
      expect(row).toHaveLength(5)
      expect(row).not.toContain('')
    }
    expect(section).toMatch(/12 months/)
  })

  it('ships with configurations that are YAML', () => {
    const [vector, fluentBit] = codeUnder('## Shipping', 'yaml').map((code) => parseYaml(code))
    expect(vector.sinks.archive.encoding).toEqual({ codec: 'raw_message' })
    expect(fluentBit.pipeline.outputs[0].template).toBe('{log}')
  })
})
