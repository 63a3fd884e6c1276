// optional: api-key
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { loadKeys } from '../../../src/auth/key-file.ts'
import { type Ended, GOOD, NOW, newKeyFile, runAt, spawnCommand } from '../command.ts'

const NOBODY = 65_534
const isRoot = process.getuid?.() === 0

let folder: string
let file: string
beforeEach(() => {
  ;({ folder, file } = newKeyFile())
})
const create = (path = file): Ended => runAt(NOW, {}, 'create', ...GOOD, '--file', path)
const text = (): string => readFileSync(file, 'utf8')

describe('threat: a change of the key file that loses keys, or lets others read or write it', () => {
  it('keeps the mode of a file that is there', () => {
    create()
    chmodSync(file, 0o640)
    create()
    expect(statSync(file).mode & 0o777).toBe(0o640)
  })

  it.runIf(isRoot)('keeps its owner and group', () => {
    create()
    chownSync(file, NOBODY, NOBODY)
    create()
    expect(statSync(file)).toMatchObject({ uid: NOBODY, gid: NOBODY })
    expect(loadKeys(file, 90)).toHaveLength(2)
  })

  it.runIf(isRoot)('changes nothing when it cannot keep the owner', async () => {
    create()
    chmodSync(file, 0o644)
    chownSync(folder, NOBODY, NOBODY)
    const before = text()
    const args = ['create', ...GOOD, '--file', file]
    const { code, out, err } = await spawnCommand(args, {}, { uid: NOBODY, gid: NOBODY })
    expect([code, out, text(), readdirSync(folder)]).toEqual([1, '', before, ['keys.json']])
    expect(err).toContain('--file: cannot be written: run this as the owner')
  })

  it('loses no key when several are made at once', async () => {
    create()
    const all = await Promise.all(
      Array.from({ length: 5 }, () => spawnCommand(['create', ...GOOD, '--file', file])),
    )
    const done = all.filter(({ code }) => code === 0)
    expect(done.length).toBeGreaterThan(0)
    const ids = loadKeys(file, 90).map(({ id }) => id)
    expect(ids.slice(1).sort()).toEqual(done.map(({ out }) => out.slice(5, 17)).sort())
    for (const { code, out, err } of all.filter((one) => !done.includes(one))) {
      expect([code, out]).toEqual([1, ''])
      expect(err).toContain('FILE.new')
    }
  })

  it('waits for nobody: a change that runs, or was cut off, is left alone', () => {
    writeFileSync(`${file}.new`, '')
    const { code, out, err } = create()
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('FILE.new')
    expect(existsSync(`${file}.new`)).toBe(true)
  })

  it('leaves the old file when it is killed in the middle', () => {
    create()
    const before = text()
    const source = join(import.meta.dirname, '../../../src/cli/keys/update-key-file.ts')
    const script = `import { updateKeyFile } from '${source}'
      updateKeyFile({ path: '${file}', named: 'f' }, false, () => process.kill(process.pid, 'SIGKILL'))`
    const killed = spawnSync(process.execPath, ['--input-type=module', '-e', script])
    expect(killed.signal).toBe('SIGKILL')
    expect([text(), readdirSync(folder)]).toEqual([before, ['keys.json', 'keys.json.new']])
  })

  it('replaces the file: who has the old one open never sees a part of the new one', () => {
    create()
    const { ino } = statSync(file)
    create()
    expect(statSync(file).ino).not.toBe(ino)
    expect(readdirSync(folder)).toEqual(['keys.json'])
  })
})

describe('contract: a file that cannot be replaced is said plainly, and stays', () => {
  it('refuses a link, as Kubernetes mounts a Secret', () => {
    const version = join(folder, '..2026_01_01')
    mkdirSync(version)
    create(join(version, 'keys.json'))
    symlinkSync('..2026_01_01', join(folder, '..data'))
    symlinkSync('..data/keys.json', file)
    const before = text()

    for (const command of [
      ['create', ...GOOD],
      ['revoke', 'abcdefghijkl'],
    ]) {
      for (const dry of [[], ['--dry-run']]) {
        const { code, out, err } = runAt(NOW, {}, ...command, ...dry, '--file', file)
        expect([code, out, text()]).toEqual([1, '', before])
        expect(err).toContain('--file: is a link, as mounted Kubernetes Secrets have')
      }
    }
    expect(readlinkSync(file)).toBe('..data/keys.json')
  })

  it('lists what is behind a link', () => {
    create(join(folder, 'real.json'))
    symlinkSync('real.json', file)
    expect(runAt(NOW, {}, 'list', '--file', file)).toMatchObject({ code: 0, err: '' })
  })

  it('says when the folder may not be written', async () => {
    create()
    chmodSync(file, 0o644)
    chmodSync(folder, 0o555)
    const user = isRoot ? { uid: NOBODY, gid: NOBODY } : {}
    const { code, out, err } = await spawnCommand(['create', ...GOOD, '--file', file], {}, user)
    chmodSync(folder, 0o755)
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('--file: cannot be written: run this as the owner of the file')
  })

  it('says when the folder does not exist', () => {
    const { code, out, err } = create(join(folder, 'none', 'keys.json'))
    expect([code, out]).toEqual([1, ''])
    expect(err).toContain('--file: is in a folder that does not exist')
  })

  it.each(['rotate', 'revoke'])('%s makes no file', (command) => {
    const { code, err } = runAt(NOW, {}, command, 'abcdefghijkl', '--file', file)
    expect([code, readdirSync(folder)]).toEqual([1, []])
    expect(err).toContain('--file: cannot be read')
  })
})
