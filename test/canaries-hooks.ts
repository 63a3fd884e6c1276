import { afterAll, afterEach, expect } from 'vitest'
import { takeLeaks } from './canaries.ts'

/** Hooks of all test files. They run after those of the file, which end its servers. */

function expectNoLeak(): void {
  expect(takeLeaks(), 'a server has written what no record may hold').toEqual([])
}

afterEach(expectNoLeak)
afterAll(expectNoLeak)
