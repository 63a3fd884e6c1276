import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../source-tree.ts'
import { wayOfARequest } from './way-of-a-request.ts'

describe('contract: pictures of the README show what is there', () => {
  it('the way of a request is that of src/app.ts, with the statuses of src/errors.ts', async () => {
    // `npx vitest run test/images --update` draws it again.
    const file = join(ROOT, 'docs/images/way-of-a-request.svg')
    await expect(wayOfARequest()).toMatchFileSnapshot(file)
  })
})
