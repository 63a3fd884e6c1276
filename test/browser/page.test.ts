import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyFile } from '../key-file.ts'
import { type Server, startServer, stopServers } from '../server.ts'
import { ROOT } from '../source-tree.ts'
import { unnamed, unreadable } from './accessibility.ts'
import { describeInChromium } from './chromium.ts'
import { documents, openConsole, status } from './console.ts'

/** `IMAGES=update npm run test:browser` writes the screenshots of docs/images. */
const UPDATE = process.env['IMAGES'] === 'update'

/** In the page: what has the focus, by its name. */
const FOCUSED = `(() => {
  const { labels, ariaLabel, textContent } = document.activeElement
  return labels?.[0]?.textContent ?? ariaLabel ?? textContent
})()`

afterAll(stopServers)

describeInChromium('contract: the browser example works with the server', (chromium) => {
  let server: Server
  beforeAll(async () => {
    server = await startServer()
  })

  it('shows progress before the result, each notification in order, and the result', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.tool('Process documents')
    await at.page.locator('input[type=file]').setInputFiles(documents(30))
    await at.run()
    // Both at once: the call still runs, and its first notifications are on the page.
    await at.page.locator('[data-state="running"] [data-kind="progress"]').first().waitFor()
    await at.call.getByText('Done', { exact: true }).waitFor()

    const lines = await at.notifications()
    const expected = Array.from({ length: 30 }, (_, index) => {
      const text = `Processing document ${index + 1}/30: note-${index + 1}.txt`
      return [`progress: ${Math.floor((index / 30) * 100)} % ${text}`, `info: ${text}`]
    }).flat()
    expect(lines).toEqual([
      ...expected,
      'progress: 100 % Processing complete!',
      'info: Processing complete!',
    ])
    expect(await at.call.getByRole('progressbar').getAttribute('max')).toBe('30')
    expect(await at.call.locator('tbody tr').count()).toBe(30)
    expect(await at.call.locator('tbody tr').first().textContent()).toContain('note-1.txt')
    expect(at.errors).toEqual([])
  })

  it('takes files that are dropped on it, and refuses what is not text', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.tool('Process documents')
    const files = await at.page.evaluateHandle(`(() => {
      const transfer = new DataTransfer()
      transfer.items.add(new File(['dropped words'], 'dropped.txt'))
      transfer.items.add(new File([new Uint8Array([0xff, 0xd8])], 'picture.jpg'))
      return transfer
    })()`)
    await at.page.locator('.drop').dispatchEvent('drop', { dataTransfer: files })
    await at.page.getByText('dropped.txt').waitFor()
    await at.page.getByText('picture.jpg is not text in UTF-8.').waitFor()
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.call.locator('tbody tr').allTextContents()).toEqual([
      expect.stringContaining('dropped.txt'),
    ])
    expect(at.errors).toEqual([])
  })

  it('asks the server only for log messages of the chosen severity', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.page.getByLabel('Log messages from').selectOption('warning')
    await at.tool('Process documents')
    await at.page.locator('input[type=file]').setInputFiles(documents(1))
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.notifications()).toEqual([
      'progress: 0 % Processing document 1/1: note-1.txt',
      'progress: 100 % Processing complete!',
    ])
  })

  it('cancels a call, and the tool stops', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.tool('Process documents')
    await at.page.locator('input[type=file]').setInputFiles(documents(50))
    await at.run()
    await at.page.locator('[data-state="running"] [data-kind="progress"]').first().waitFor()
    await at.page.getByRole('button', { name: 'Cancel' }).click()
    await at.call.getByText('Cancelled', { exact: true }).waitFor()
    const outcome = await server.recorded(
      (record) => record.metadata.event_code === 'outcome' && record.status_code === 'cancelled',
    )
    expect(outcome.unmapped.mcp).toMatchObject({ tool: 'process_documents' })
  })

  it('asks the person when a tool wants confirmation, and sends the answer', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.tool('Process documents')
    await at.page.locator('input[type=file]').setInputFiles(documents(1))
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    const id = await at.call.locator('dd').first().textContent()

    for (const [answer, deleted] of [
      ['Decline', 'false'],
      ['Send the answer', 'true'],
    ] as const) {
      await at.tool('Delete a report')
      await at.field('id').fill(id ?? '')
      await at.run()
      const dialog = at.page.getByRole('dialog', { name: 'Delete a report asks' })
      await dialog.getByText(/cannot be undone/).waitFor()
      await dialog.getByRole('checkbox', { name: 'Confirm' }).check()
      await dialog.getByRole('button', { name: answer }).click()
      await at.call.getByText('Done', { exact: true }).waitFor()
      expect(await at.call.locator('dl').textContent()).toBe(`deleted${deleted}`)
    }
    expect(at.errors).toEqual([])
  })

  it('is used with the keyboard alone', async () => {
    await using at = await openConsole(chromium, server.url)
    const { page } = at
    const { keyboard } = page
    /** Goes on with Tab until this has the focus. */
    async function tabTo(name: string): Promise<void> {
      for (let steps = 0; steps < 30; steps += 1) {
        await keyboard.press('Tab')
        if ((await page.evaluate(FOCUSED)) === name) return
      }
      throw new Error(`Tab does not lead to ${name}`)
    }

    await tabTo('API key')
    await keyboard.type(server.key)
    await keyboard.press('Enter')
    await status(page, /^Connected/)
    await tabTo('Process documents')
    await keyboard.press('Enter')
    await tabTo('Add an entry')
    await keyboard.press('Enter')
    await keyboard.type('typed.txt')
    await keyboard.press('Tab')
    await keyboard.type('some typed words')
    await tabTo('Run')
    await keyboard.press('Enter')
    await at.call.getByText('Done', { exact: true }).waitFor()
    expect(await at.call.locator('tbody tr').allTextContents()).toEqual([
      expect.stringContaining('typed.txt'),
    ])
  })

  it('says what a call ended with to people who do not see it', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.connect(server.key)
    await at.field('text').fill('hello')
    await at.run()
    await at.page.locator('[aria-live=polite]').filter({ hasText: 'Echo: Done' }).waitFor({
      state: 'attached',
    })
  })

  it('says what helps when the key is not taken', async () => {
    await using at = await openConsole(chromium, server.url)
    await at.page.getByRole('textbox', { name: 'API key' }).fill('wrong')
    await at.page.keyboard.press('Enter')
    const text =
      /^The server does not take this credential.* \(HTTP 401, request [0-9a-f-]{36}\)\.$/
    await at.page.getByRole('alert').filter({ hasText: text }).waitFor()
    await status(at.page, /^Not connected/)
    expect(await at.page.content()).not.toContain('wrong')
  })

  it('says what helps when the key has too few rights', async () => {
    const { file, keys } = keyFile({ scopes: ['mcp:use'] })
    const other = await startServer({ env: { MCP_API_KEYS_FILE: file } })
    await using at = await openConsole(chromium, other.url)
    await at.connect(keys[0] ?? '')
    await at.tool('Delete a report')
    await at.field('id').fill('x'.repeat(22))
    await at.run()
    const text =
      /^This needs more rights: mcp:use, reports:delete .* Ask for a key that has them\.$/
    await at.call.getByText(text).waitFor()
  })

  it('says when to come again when there are too many requests', async () => {
    // The page asks three times to connect: who is there, with which tools, and for changes.
    const few = ['limits.yaml', 'requestsPerMinute: 1200', 'requestsPerMinute: 4'] as const
    const other = await startServer({ policies: [few] })
    await using at = await openConsole(chromium, other.url)
    await at.connect(other.key)
    await at.run()
    await at.call.getByText('Done', { exact: true }).waitFor()
    await at.run()
    await at.call.getByText(/^Too many requests/).waitFor()
    expect(await at.call.getByRole('button', { name: /^Run again in \d+ s$/ }).isDisabled()).toBe(
      true,
    )
  })

  describe.each(['light', 'dark'] as const)('%s', (colorScheme) => {
    it('has a name for everything that can be used, and colours that can be read', async () => {
      const context = { colorScheme, viewport: { width: 1280, height: 800 } }
      await using at = await openConsole(chromium, server.url, { context })
      const images = [await at.page.screenshot()]
      expect(await unnamed(at.page)).toEqual([])
      expect(await unreadable(at.page)).toEqual([])

      await at.connect(server.key)
      await at.tool('Process documents')
      await at.page
        .locator('input[type=file]')
        .setInputFiles(
          ['cors', 'dns-rebinding', 'rate-limits', 'tls'].map((name) =>
            join(ROOT, `examples/documents/${name}.md`),
          ),
        )
      await at.run()
      await at.call.getByText('Done', { exact: true }).waitFor()
      images.push(await at.page.screenshot())
      await at.page.getByRole('button', { name: 'Add an entry' }).click()
      expect(await unnamed(at.page)).toEqual([])
      expect(await unreadable(at.page)).toEqual([])

      await at.page.setViewportSize({ width: 360, height: 800 })
      const width = await at.page.evaluate('document.documentElement.scrollWidth')
      expect(width, 'the page scrolls sideways').toBeLessThanOrEqual(360)
      expect(at.errors).toEqual([])
      if (!UPDATE) return
      for (const [index, name] of ['connect', 'call'].entries()) {
        const file = join(ROOT, `docs/images/browser-${name}-${colorScheme}.png`)
        writeFileSync(file, images[index] ?? '')
      }
    })
  })
})
