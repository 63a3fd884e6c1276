import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Most tests wait for real processes, so each core has a worker (one is left free otherwise).
    maxWorkers: '100%',
    setupFiles: ['test/canaries-hooks.ts'],
    testTimeout: 20_000,
    hookTimeout: 30_000,
  },
})
