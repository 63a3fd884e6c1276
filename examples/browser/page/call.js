/** @import { CallResult, Notification, Tool } from '../types.ts' */
import { announce, button, create, pretty } from './dom.js'

/** Notifications that one call shows at most; the oldest make way. */
const MAX_SHOWN = 500

/**
 * One call on the page: its notifications as they arrive, its progress, how it ended.
 *
 * @param {Tool} tool
 * @param {() => void} onCancel
 */
export function callCard(tool, onCancel) {
  const title = tool.title ?? tool.name
  const startedMs = performance.now()
  const state = create('span', { class: 'state' }, 'Running')
  const bar = create('progress', { 'aria-label': `Progress of ${title}` })
  const step = create('p', { class: 'step' }, 'Waiting for the first notification')
  const log = create('ol', { class: 'log', tabindex: 0, 'aria-label': `Notifications of ${title}` })
  const end = create('div', { class: 'end' })
  const cancel = button('Cancel', onCancel, { class: 'secondary' })
  const head = create('header', {}, create('h3', {}, title), state, cancel)
  const element = create(
    'article',
    { class: 'call', 'data-state': 'running', 'aria-label': `Call of ${title}` },
    head,
    bar,
    step,
    log,
    end,
  )

  /**
   * @param {string} kind
   * @param {string} text
   */
  function line(kind, text) {
    const seconds = `+${((performance.now() - startedMs) / 1000).toFixed(2)} s`
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8
    log.append(
      create(
        'li',
        { 'data-kind': kind },
        create('time', {}, seconds),
        create('span', { class: 'kind' }, kind),
        create('bdi', {}, text),
      ),
    )
    if (log.childElementCount > MAX_SHOWN) log.firstElementChild?.remove()
    if (isAtEnd) log.scrollTop = log.scrollHeight
  }

  return {
    element,

    /** @param {Notification} notification */
    notified({ method, params = {} }) {
      if (method === 'notifications/progress') {
        const { progress = 0, total, message = '' } = params
        if (total !== undefined && total > 0) {
          bar.max = total
          bar.value = progress
        }
        const share =
          total === undefined ? `${progress}` : `${Math.floor((progress / total) * 100)} %`
        step.textContent = message
        line('progress', `${share} ${message}`)
        announce(message)
      } else if (method === 'notifications/message') {
        const { level = 'info', data } = params
        line(level, typeof data === 'string' ? data : JSON.stringify(data))
      } else {
        line('notification', method)
      }
    },

    /**
     * @param {'done' | 'failed' | 'cancelled'} how
     * @param {string} label
     * @param {...(Node | string)} content
     */
    ended(how, label, ...content) {
      element.dataset['state'] = how
      state.textContent = label
      cancel.remove()
      if (how !== 'done' && bar.position < 0) bar.value = 0
      if (bar.position < 0) bar.value = bar.max
      if (step.textContent === 'Waiting for the first notification') step.remove()
      if (log.childElementCount === 0) log.remove()
      end.append(...content)
      announce(`${title}: ${label}`)
    },
  }
}

/**
 * The result of a call: its structured content for people, and as it came.
 *
 * @param {CallResult} result
 */
export function resultView(result) {
  const { structuredContent, content = [] } = result
  const texts = content.map(({ type, text }) =>
    create('p', { class: 'value' }, text ?? `[${type}]`),
  )
  const shown = structuredContent === undefined ? texts : [pretty(structuredContent)]
  const raw = create('pre', { tabindex: 0 }, JSON.stringify(result, null, 2))
  return create(
    'div',
    { class: 'result' },
    ...shown,
    create(
      'details',
      { 'aria-label': 'The result as it came' },
      create('summary', {}, 'The result as it came'),
      raw,
    ),
  )
}
