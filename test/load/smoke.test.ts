import { afterEach, describe, expect, it } from 'vitest'
import { stopServers } from '../server.ts'
import { isMet } from './scenario.ts'
import { scenarios } from './scenarios.ts'

afterEach(stopServers)

/** Every scenario of `npm run load`, small: what it counts must be right however slow the machine is. */
describe('contract: load and faults, small', { timeout: 120_000 }, () => {
  for (const { name, about, missing, run } of scenarios) {
    const lacking = missing?.('smoke')
    const title = lacking === undefined ? `${name}: ${about}` : `${name} (needs ${lacking})`
    it.skipIf(lacking !== undefined && process.env['CI'] === undefined)(title, async () => {
      if (lacking !== undefined) throw new Error(`This machine lacks ${lacking}`)
      const figures = await run('smoke')
      const wrong = figures.filter((figure) => figure.isCount && !isMet(figure))
      expect(wrong).toEqual([])
      for (const { what, measured } of figures) expect(measured, what).not.toBeNaN()
    })
  }
})
