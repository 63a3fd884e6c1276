/** @import { InputRequest, InputResponse } from '../types.ts' */
import { button, create, newId } from './dom.js'
import { objectFields } from './form.js'

/**
 * Asks the person what a tool wants to know (MCP 2026-07-28, elicitation in form mode). Anything but a
 * form is declined. Each question has a dialog of its own, so that no answer goes to another one.
 *
 * @param {InputRequest} request
 * @param {string} title of the tool
 * @param {AbortSignal} signal
 * @returns {Promise<InputResponse>}
 */
export async function ask({ method, params }, title, signal) {
  const { message, requestedSchema } = params
  const isForm = method === 'elicitation/create' && requestedSchema !== undefined
  if (!isForm || signal.aborted) return { action: 'decline' }

  const fields = objectFields(requestedSchema)
  const titleId = newId()
  const form = create(
    'form',
    { method: 'dialog', 'aria-label': 'Your answer' },
    create('h2', { id: titleId }, `${title} asks`),
    create('p', { class: 'value' }, message),
    fields.element,
    create(
      'div',
      { class: 'actions' },
      create('button', { value: 'accept' }, 'Send the answer'),
      button('Decline', () => dialog.close('decline'), { class: 'secondary' }),
    ),
  )
  const dialog = create('dialog', { 'aria-labelledby': titleId }, form)
  dialog.returnValue = 'decline'
  /** @type {PromiseWithResolvers<InputResponse>} */
  const { promise, resolve } = Promise.withResolvers()
  dialog.addEventListener(
    'close',
    () => {
      const isAccepted = dialog.returnValue === 'accept'
      dialog.remove()
      resolve(isAccepted ? { action: 'accept', content: fields.read() } : { action: 'decline' })
    },
    { once: true },
  )
  const leave = () => dialog.close('decline')
  signal.addEventListener('abort', leave, { once: true })
  document.body.append(dialog)
  dialog.showModal()
  return promise.finally(() => signal.removeEventListener('abort', leave))
}
