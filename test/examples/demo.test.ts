import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  globSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { inspect } from '../canaries.ts'

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'demo-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('contract: the demo runs the real server and the real client', () => {
  it('shows progress, the result, the report and the audit trail, and cleans up', async () => {
    const child = spawn(process.execPath, ['examples/demo.ts'], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const kept = join(folder, 'kept.jsonl')
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      // The demo deletes its trail; a second name keeps it.
      const [trail] = existsSync(kept) ? [] : globSync(join(folder, '*/audit.jsonl'))
      if (trail !== undefined) linkSync(trail, kept)
    })
    await once(child, 'close')
    inspect(readFileSync(kept, 'utf8'))
    rmSync(kept)

    expect(child.exitCode, err).toBe(0)
    const documents = readdirSync(join(ROOT, 'examples/documents')).sort()
    expect(err.split('\n').filter((line) => line.startsWith('info: '))).toEqual([
      ...documents.map(
        (name, index) => `info: Processing document ${index + 1}/${documents.length}: ${name}`,
      ),
      'info: Processing complete!',
    ])
    expect(err).toContain(`[${documents.length}/${documents.length}] Processing complete!`)

    const id = /^reportId: (\S+)$/m.exec(out)?.[1]
    expect(out).toContain(`"id": "${id}"`)
    expect(out).toMatch(/server\.start/)
    expect(out).toMatch(/decision +tools\/call +process_documents +allowed/)
    expect(out).toMatch(/outcome +tools\/call +process_documents +ok/)
    expect(out).toMatch(/decision +resources\/read +report:\/\/\{id\} +allowed/)
    expect(out).toMatch(/server\.stop/)
    expect(out + err).not.toContain('mcpk_')

    expect(readdirSync(folder)).toEqual([])
  })
})
