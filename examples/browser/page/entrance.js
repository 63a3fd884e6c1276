/** @import { PageConfig } from '../types.ts' */
import { byId, create, newId } from './dom.js'
import { explain } from './explain.js'
import { authorizationOf, signIn } from './oauth.js'

/**
 * The two ways in: an API key, or the page of an issuer.
 *
 * @param {PageConfig} config
 * @param {object} on
 * @param {(key: string) => void} on.key
 * @param {(error: unknown) => void} on.problem
 */
export async function entrance({ server, clientId }, on) {
  const keyForm = byId('key-form', HTMLFormElement)
  const keyInput = byId('key', HTMLInputElement)
  keyForm.addEventListener('submit', (event) => {
    event.preventDefault()
    const key = keyInput.value.trim()
    keyInput.value = ''
    on.key(key)
  })
  await offerSignIn(server, clientId, on.problem).catch((error) => {
    byId('oauth-note', HTMLElement).textContent = explain(error).text
  })
}

/**
 * @param {string} server
 * @param {string | null} clientId
 * @param {(error: unknown) => void} onProblem
 */
async function offerSignIn(server, clientId, onProblem) {
  const note = byId('oauth-note', HTMLElement)
  const { issuers, scopes } = await authorizationOf(server)
  if (issuers.length === 0) {
    note.textContent = 'This server names no issuer to sign in at.'
    return
  }
  if (clientId === null) {
    note.textContent = 'This page is not registered at an issuer. Start it with --client-id.'
    return
  }
  note.remove()
  const form = byId('oauth-form', HTMLFormElement)
  const select = byId('issuer', HTMLSelectElement)
  select.append(...issuers.map((issuer) => create('option', { value: issuer }, issuer)))
  const rights = scopes.map((scope) => {
    const id = newId()
    const box = create('input', { type: 'checkbox', id, value: scope, checked: true })
    byId('rights', HTMLElement).append(
      create('div', { class: 'right' }, box, create('label', { for: id }, scope)),
    )
    return box
  })
  form.hidden = false
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const wanted = rights.filter(({ checked }) => checked).map(({ value }) => value)
    const request = { issuer: select.value, clientId, server, scopes: wanted, tool: null }
    signIn(request).catch(onProblem)
  })
}
