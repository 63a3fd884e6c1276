import { describe, expect, it } from 'vitest'
import { whoami } from '../../src/tools/whoami.ts'
import { fakeContext, PRINCIPAL } from './context.ts'

describe('contract: whoami', () => {
  it('tells exactly what the server knows of the caller', async () => {
    const output = await whoami.run({}, fakeContext())
    expect(output).toEqual(PRINCIPAL)
    expect(whoami.output.safeParse(output).success).toBe(true)
  })

  it('takes no arguments', () => {
    expect(whoami.input.safeParse({}).success).toBe(true)
    expect(whoami.input.safeParse({ subject: 'bob' }).success).toBe(false)
  })
})
