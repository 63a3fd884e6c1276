import { defineConfig } from 'vitest/config'

/** The long tests of deployments, which `npm test` leaves out: `npm run test:deploy`. */
export default defineConfig({
  test: {
    include: ['test/deploy/*.deploy.ts'],
    setupFiles: ['test/canaries-hooks.ts'],
    testTimeout: 60_000,
    hookTimeout: 300_000,
  },
})
