import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { ROOT, textOf } from '../source-tree.ts'
import { animated, lastOf, recordDemo, wordsOf } from './record-demo.ts'
import { wayOfARequest } from './way-of-a-request.ts'

const python = spawnSync('python3', ['--version']).error === undefined

/** `RECORD=1 npx vitest run test/images --update` makes both pictures again. */
describe('contract: pictures of the README show what is there', () => {
  it('the way of a request is that of src/app.ts, with the statuses of src/errors.ts', async () => {
    const file = join(ROOT, 'docs/images/way-of-a-request.svg')
    await expect(wayOfARequest()).toMatchFileSnapshot(file)
  })

  it.runIf(python || process.env['CI'])('the recording has the words of the demo of today', () => {
    expect(packageJson.scripts.demo).toBe('node examples/demo.ts')
    const rows = recordDemo()
    const path = 'docs/images/demo.svg'
    if (process.env['RECORD'] !== undefined) writeFileSync(join(ROOT, path), animated(rows))
    const drawn = [...textOf(path).matchAll(/<text class="v"[^>]*>(.*?)<\/text>/g)].map(
      ([, line = '']) =>
        line
          .replace(/<[^>]*>/g, '')
          .replaceAll('&lt;', '<')
          .replaceAll('&amp;', '&'),
    )
    expect(wordsOf(drawn)).toEqual(wordsOf(lastOf(rows)))
    expect(Buffer.byteLength(textOf(path))).toBeLessThan(150_000)
  })
})
