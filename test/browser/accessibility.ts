import type { Page } from 'playwright-core'
import { z } from 'zod'

/** What a person with a screen reader gets to hear by its name. */
const NAMED = new Set([
  ...['button', 'link', 'textbox', 'combobox', 'checkbox', 'spinbutton', 'progressbar', 'listbox'],
  ...['article', 'dialog', 'group', 'navigation', 'region', 'heading', 'form', 'image'],
])

/** Things on the page that the accessibility tree has no name for, as their roles. */
export async function unnamed(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page)
  const { nodes } = await session.send('Accessibility.getFullAXTree')
  await session.detach()
  const named = nodes.filter(({ ignored, role }) => !ignored && NAMED.has(`${role?.value}`))
  if (named.length === 0) throw new Error('The accessibility tree is empty')
  return named.flatMap(({ role, name }) => (name?.value ? [] : [`${role?.value}`]))
}

/** In the page: the texts whose contrast is below 4.5:1, or 3:1 when they are large (WCAG 2.2 §1.4.3). */
const FIND_UNREADABLE = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number)
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((value) => {
      const part = value / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const groundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor
      if ((channels(color)[3] ?? 1) > 0) return color
    }
    return 'rgb(255, 255, 255)'
  }
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const found = []
  let seen = 0
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim()
    const element = texts.currentNode.parentElement
    if (text === '' || !element.checkVisibility() || element.closest('.unseen, .skip')) continue
    seen += 1
    const style = getComputedStyle(element)
    const [light, dark] = [luminance(style.color), luminance(groundOf(element))].sort((a, b) => b - a)
    const isLarge = parseFloat(style.fontSize) >= 24
    if ((light + 0.05) / (dark + 0.05) < (isLarge ? 3 : 4.5)) found.push(text)
  }
  return { seen, found }
})()`

const readings = z.object({ seen: z.int().min(1), found: z.array(z.string()) })

/** Texts on the page that stand out too little. */
export async function unreadable(page: Page): Promise<string[]> {
  return readings.parse(await page.evaluate(FIND_UNREADABLE)).found
}
