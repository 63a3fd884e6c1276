/**
 * An element with attributes and children. Text becomes a text node and nothing else: what a server
 * sends is never markup. The page's policy forbids markup from text besides (Trusted Types).
 *
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number | boolean | undefined>} [attributes] `true`: present without a value
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function create(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue
    element.setAttribute(attribute, value === true ? '' : `${value}`)
  }
  element.append(...children)
  return element
}

/**
 * @param {string} text
 * @param {() => void} onClick
 * @param {Record<string, string | boolean | undefined>} [attributes]
 */
export function button(text, onClick, attributes = {}) {
  const element = create('button', { type: 'button', ...attributes }, text)
  element.addEventListener('click', onClick)
  return element
}

/**
 * An element of index.html.
 *
 * @template {HTMLElement} Type
 * @param {string} id
 * @param {new () => Type} type
 * @returns {Type}
 */
export function byId(id, type) {
  const element = document.getElementById(id)
  if (element instanceof type) return element
  throw new Error(`index.html has no ${type.name} #${id}`)
}

let lastId = 0

/** A name that labels and descriptions point to. */
export function newId() {
  lastId += 1
  return `field-${lastId}`
}

/** @type {string | undefined} */
let waiting
let lastMs = Number.NEGATIVE_INFINITY
const QUIET_MS = 1500

/**
 * Says something to people who do not see the screen. What follows faster than it could be said is left
 * out, but for the newest.
 *
 * @param {string} text
 */
export function announce(text) {
  const isWaiting = waiting !== undefined
  waiting = text
  if (isWaiting) return
  setTimeout(
    () => {
      byId('announcer', HTMLElement).textContent = waiting ?? ''
      waiting = undefined
      lastMs = performance.now()
    },
    Math.max(0, lastMs + QUIET_MS - performance.now()),
  )
}

/**
 * Any JSON value for people: a list of members, a table for a list of objects.
 *
 * @param {unknown} value
 * @returns {HTMLElement}
 */
export function pretty(value) {
  if (Array.isArray(value) && value.length > 0 && value.every(isRecord)) return table(value)
  if (!isRecord(value)) return create('p', { class: 'value' }, inline(value))
  const list = create('dl', {})
  for (const [name, member] of Object.entries(value)) {
    list.append(create('dt', {}, name), create('dd', {}, pretty(member)))
  }
  return list
}

/** @param {Record<string, unknown>[]} rows */
function table(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const head = names.map((name) => create('th', { scope: 'col' }, name))
  const body = rows.map((row) =>
    create(
      'tr',
      {},
      ...names.map((name) =>
        create(
          'td',
          { class: typeof row[name] === 'number' ? 'number' : undefined },
          inline(row[name] ?? ''),
        ),
      ),
    ),
  )
  const whole = create(
    'table',
    {},
    create('thead', {}, create('tr', {}, ...head)),
    create('tbody', {}, ...body),
  )
  // Wider than its place, it scrolls; with the keyboard, too.
  const label = 'Table of the result'
  return create('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, whole)
}

/**
 * @param {unknown} value
 * @returns {string}
 */
function inline(value) {
  if (Array.isArray(value)) return value.map(inline).join(', ')
  if (isRecord(value)) return Object.values(value).map(inline).join(' ')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isRecord(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
