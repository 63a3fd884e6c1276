/** @import { Tool } from '../types.ts' */
/** @import { mcpClient } from './mcp.js' */
import { callCard, resultView } from './call.js'
import { ask } from './confirm.js'
import { button, byId, create } from './dom.js'
import { explain } from './explain.js'
import { objectFields } from './form.js'
import { Lost } from './mcp.js'

/**
 * The tools of one connection: their list, the form of the open one, and their calls.
 *
 * @param {ReturnType<typeof mcpClient>} client
 * @param {object} on
 * @param {((scopes: readonly string[], tool: string) => void) | undefined} on.signInForMore `undefined`
 *   where nobody has signed in
 * @param {(error: unknown) => void} on.credentialRefused
 * @param {AbortSignal} signal ends all of it
 */
export function toolsOf(client, on, signal) {
  const list = byId('tool-list', HTMLElement)
  const panel = byId('tool', HTMLElement)
  const calls = byId('calls', HTMLElement)
  const level = byId('level', HTMLSelectElement)
  /** The one whose form is shown. */
  let openName = ''
  let openSchema = ''

  /** @param {Tool} tool */
  function open(tool) {
    openName = tool.name
    openSchema = JSON.stringify(tool.inputSchema)
    mark()
    const fields = objectFields(tool.inputSchema)
    const title = tool.title ?? tool.name
    const heading = create('h2', { tabindex: -1 }, title)
    const form = create(
      'form',
      { 'aria-label': `Arguments of ${title}` },
      fields.element,
      create('div', { class: 'actions' }, create('button', {}, 'Run')),
    )
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const missing = fields.problem()
      if (missing !== undefined) missing.focus()
      else void call(tool, { ...Object(fields.read()) })
    })
    const about = [create('p', { class: 'about' }, tool.description ?? '')]
    if (tool.annotations?.destructiveHint === true) {
      about.push(create('p', { class: 'warning' }, 'This tool deletes or overwrites things.'))
    }
    panel.replaceChildren(heading, ...about, form)
    return heading
  }

  function mark() {
    for (const item of list.querySelectorAll('button')) {
      item.setAttribute('aria-current', `${item.dataset['tool'] === openName}`)
    }
  }

  /**
   * @param {Tool} tool
   * @param {Record<string, unknown>} args
   */
  async function call(tool, args) {
    const cancel = new AbortController()
    const both = AbortSignal.any([signal, cancel.signal])
    const card = callCard(tool, () => cancel.abort())
    calls.prepend(card.element)
    byId('no-calls', HTMLElement).hidden = true
    try {
      const result = await client.callTool(tool, args, {
        signal: both,
        level: level.value,
        onNotification: card.notified,
        ask: (question) => ask(question, tool.title ?? tool.name, both),
      })
      card.ended(
        result.isError === true ? 'failed' : 'done',
        result.isError === true ? 'The tool failed' : 'Done',
        resultView(result),
      )
    } catch (error) {
      if (both.aborted) return card.ended('cancelled', 'Cancelled')
      const { text, scopes = [], needsCredential, retryAfterSeconds = 0 } = explain(error)
      const what = create('p', { class: 'problem' }, text)
      if (error instanceof Lost) what.append(' Whether the tool has finished is not known.')
      const help = []
      if (scopes.length > 0 && on.signInForMore !== undefined) {
        const { signInForMore } = on
        help.push(button('Sign in with these rights', () => signInForMore(scopes, tool.name)))
      } else if (scopes.length > 0) {
        what.append(' Ask for a key that has them.')
      } else if (needsCredential !== true) {
        help.push(againButton(retryAfterSeconds, () => void call(tool, args)))
      }
      card.ended('failed', 'Not done', what, ...help)
      if (needsCredential === true) on.credentialRefused(error)
    }
  }

  return {
    /** @param {string | null} [name] of the tool to open; the one that is open when left out */
    async refresh(name) {
      const tools = await client.listTools(signal)
      list.replaceChildren(
        ...tools.map((tool) => {
          const choose = button(tool.title ?? tool.name, () => open(tool).focus(), {
            'data-tool': tool.name,
          })
          return create('li', {}, choose)
        }),
      )
      mark()
      const wanted = tools.find((tool) => tool.name === (name ?? openName)) ?? tools[0]
      if (wanted === undefined) {
        panel.replaceChildren(create('p', {}, 'The server has no tool for you.'))
      } else if (wanted.name !== openName || JSON.stringify(wanted.inputSchema) !== openSchema) {
        open(wanted)
      }
    },
  }
}

/**
 * Runs a call again, once the time has come that the server named.
 *
 * @param {number} seconds
 * @param {() => void} onAgain
 */
function againButton(seconds, onAgain) {
  const again = button('Run again', onAgain, { class: 'secondary', disabled: seconds > 0 })
  let left = seconds
  const tick = () => {
    again.textContent = left > 0 ? `Run again in ${left} s` : 'Run again'
    again.disabled = left > 0
    if (left > 0) setTimeout(tick, 1000)
    left -= 1
  }
  tick()
  return again
}
