import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import { describeWith, programPath } from '../deploy/programs.ts'

/** Under one of these names. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

/** Longest wait for anything that a page shows. */
const TIMEOUT_MS = 15_000

/** A page as a person has it open, and what its console has said. */
export interface Opened extends AsyncDisposable {
  readonly page: Page
  /** Where and what: errors of scripts, refusals of its policy, and failed requests. */
  readonly errors: string[]
}

export interface Chromium {
  /** Opens an address in a profile of its own. */
  open(url: string, options?: BrowserContextOptions): Promise<Opened>
}

/**
 * A `describe` of tests in a real Chromium, which all of them share.
 *
 * @param hosts names that lead to loopback, whatever DNS says
 */
export function describeInChromium(
  name: string,
  tests: (chromium: Chromium) => void,
  hosts: readonly string[] = [],
): void {
  const program = NAMES.find((found) => programPath(found) !== undefined) ?? 'chromium'
  describeWith([program], name, () => {
    let browser: Browser
    beforeAll(async () => {
      browser = await chromium.launch({
        executablePath: programPath(program) ?? '',
        args: [
          ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
          ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
          `--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(', ')}`,
        ],
      })
    })
    afterAll(() => browser.close())

    tests({
      async open(url, options = {}) {
        const context = await browser.newContext(options)
        context.setDefaultTimeout(TIMEOUT_MS)
        const page = await context.newPage()
        const errors: string[] = []
        page.on('console', (message) => {
          if (message.type() === 'error') errors.push(`${message.location().url} ${message.text()}`)
        })
        page.on('pageerror', (error) => errors.push(String(error)))
        await page.goto(url)
        return { page, errors, [Symbol.asyncDispose]: () => context.close() }
      },
    })
  })
}
