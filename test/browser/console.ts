import type { BrowserContextOptions, Locator, Page } from 'playwright-core'
import { startPageServer } from '../../examples/browser/page-server.ts'
import type { Chromium, Opened } from './chromium.ts'

/** The page of examples/browser, as a person sees it. */
export interface Console extends Opened {
  connect(key: string): Promise<void>
  /** Opens the form of a tool, by its title. */
  tool(title: string): Promise<void>
  /** A field of that form, by its label. */
  field(label: string): Locator
  run(): Promise<void>
  /** The newest call. */
  readonly call: Locator
  /** Its notifications: kind and text, in order. */
  notifications(): Promise<string[]>
}

export interface ConsoleOptions {
  /** Origins of issuers. */
  readonly issuers?: readonly string[]
  readonly clientId?: string
  readonly context?: BrowserContextOptions
}

/** Serves the page for this MCP endpoint and opens it. */
export async function openConsole(
  chromium: Chromium,
  url: string,
  { issuers = [], clientId, context = {} }: ConsoleOptions = {},
): Promise<Console> {
  const server = await startPageServer({
    server: url,
    clientId: clientId ?? null,
    port: 0,
    connect: [new URL(url).origin, ...issuers],
  })
  const opened = await chromium.open(server.url, context)
  const { page } = opened
  await page.locator('[data-connection]').waitFor()
  const call = page.locator('article').first()
  return {
    page,
    errors: opened.errors,
    call,
    async connect(key) {
      await page.getByRole('textbox', { name: 'API key' }).fill(key)
      await page.getByRole('button', { name: 'Connect', exact: true }).click()
      await status(page, /^Connected/)
    },
    tool: (title) => page.getByRole('navigation').getByRole('button', { name: title }).click(),
    field: (label) => page.getByRole('form').getByLabel(label, { exact: true }),
    run: () => page.getByRole('button', { name: 'Run', exact: true }).click(),
    async notifications() {
      const lines = await call.locator('.log li').all()
      return Promise.all(
        lines.map(async (line) => {
          const text = await line.locator('bdi').textContent()
          return `${await line.getAttribute('data-kind')}: ${text}`
        }),
      )
    },
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Waits until the page says so of its connection. */
export async function status(page: Page, text: RegExp): Promise<void> {
  await page.getByRole('status').filter({ hasText: text }).waitFor()
}

/** Files to drop or to choose. */
export function documents(
  count: number,
): { readonly name: string; readonly mimeType: string; readonly buffer: Buffer }[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `note-${index + 1}.txt`,
    mimeType: 'text/plain',
    buffer: Buffer.from(`Some words of note ${index + 1}.\n`),
  }))
}
