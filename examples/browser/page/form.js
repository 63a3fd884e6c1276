/** @import { Schema } from '../types.ts' */
import { create, newId } from './dom.js'
import { listField } from './list.js'

/**
 * A field of a form, or a group of them.
 *
 * @typedef {object} Field
 * @property {HTMLElement} element
 * @property {() => unknown} read the JSON value; `undefined` when it is left out
 * @property {() => HTMLElement | undefined} problem says what is missing where the browser cannot, and
 *   where to go to; `undefined`: nothing is
 */

/**
 * Fields for the members of an object.
 *
 * @param {Schema} schema
 * @returns {Field}
 */
export function objectFields(schema) {
  const required = new Set(schema.required)
  const members = Object.entries(schema.properties ?? {}).map(([name, property]) => ({
    name,
    field: fieldFor(name, property, required.has(name)),
  }))
  return {
    element: create('div', { class: 'fields' }, ...members.map(({ field }) => field.element)),
    read() {
      const entries = members.map(({ name, field }) => [name, field.read()])
      return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
    },
    problem() {
      for (const { field } of members) {
        const found = field.problem()
        if (found !== undefined) return found
      }
      return undefined
    },
  }
}

/**
 * @param {string} name
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @returns {Field}
 */
function fieldFor(name, schema, isRequired) {
  const label = schema.title ?? name
  if (Array.isArray(schema.enum)) return choice(label, schema, schema.enum, isRequired)
  if (schema.type === 'boolean') return toggle(label, schema, isRequired)
  if (schema.type === 'number' || schema.type === 'integer')
    return number(label, schema, isRequired)
  if (schema.type === 'string') return text(label, schema, isRequired)
  if (schema.type === 'array' && schema.items !== undefined)
    return listField(label, schema, fieldFor)
  if (schema.type === 'object' && schema.properties !== undefined) {
    const fields = objectFields(schema)
    const legend = create('legend', {}, label)
    return { ...fields, element: create('fieldset', {}, legend, fields.element) }
  }
  return json(label, schema, isRequired)
}

/**
 * @param {string} label
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @param {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} control
 */
function labelled(label, { description }, isRequired, control) {
  control.id = newId()
  const row = create('div', { class: 'field' }, create('label', { for: control.id }, label))
  if (!isRequired) row.append(create('span', { class: 'optional' }, 'optional'))
  row.append(control)
  if (description !== undefined) {
    const id = `${control.id}-help`
    control.setAttribute('aria-describedby', id)
    row.append(create('p', { id, class: 'help' }, description))
  }
  return row
}

/** What the browser itself does not find. */
const nothing = () => undefined

/**
 * @param {string} label
 * @param {Schema} schema
 * @param {readonly unknown[]} values
 * @param {boolean} isRequired
 * @returns {Field}
 */
function choice(label, schema, values, isRequired) {
  const control = create('select', { required: isRequired })
  control.append(create('option', { value: '' }, isRequired ? 'Choose one' : 'None'))
  for (const [index, value] of values.entries()) {
    const selected = value === schema.default
    control.append(create('option', { value: index, selected }, `${value}`))
  }
  return {
    element: labelled(label, schema, isRequired, control),
    read: () => (control.value === '' ? undefined : values[Number(control.value)]),
    problem: nothing,
  }
}

/**
 * @param {string} label
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @returns {Field}
 */
function toggle(label, schema, isRequired) {
  const control = create('input', { type: 'checkbox', checked: schema.default === true })
  return {
    element: labelled(label, schema, isRequired, control),
    read() {
      const isMeant = isRequired || control.checked || schema.default === true
      return isMeant ? control.checked : undefined
    },
    problem: nothing,
  }
}

/**
 * @param {string} label
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @returns {Field}
 */
function number(label, schema, isRequired) {
  const control = create('input', {
    type: 'number',
    required: isRequired,
    step: schema.type === 'integer' ? 1 : 'any',
    min: schema.minimum,
    max: schema.maximum,
    value: typeof schema.default === 'number' ? schema.default : undefined,
  })
  return {
    element: labelled(label, schema, isRequired, control),
    read: () => (control.value === '' ? undefined : control.valueAsNumber),
    problem: nothing,
  }
}

/** Longer texts get more than one line. */
const LINE_LENGTH = 256

/**
 * @param {string} label
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @returns {Field}
 */
function text(label, schema, isRequired) {
  const { minLength = 0, maxLength, pattern } = schema
  const attributes = {
    required: isRequired && minLength > 0,
    minlength: minLength,
    maxlength: maxLength,
  }
  const isLong = (maxLength ?? LINE_LENGTH + 1) > LINE_LENGTH
  const control = isLong
    ? create('textarea', { rows: 3, ...attributes })
    : create('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', ...attributes })
  if (typeof schema.default === 'string') control.value = schema.default
  if (pattern !== undefined) {
    control.addEventListener('input', () => {
      const isWrong = control.value !== '' && !matches(pattern, control.value)
      control.setCustomValidity(isWrong ? 'This does not have the form that the tool expects.' : '')
    })
  }
  return {
    element: labelled(label, schema, isRequired, control),
    read: () => (control.value === '' && !isRequired ? undefined : control.value),
    problem: nothing,
  }
}

/**
 * @param {string} pattern
 * @param {string} value
 */
function matches(pattern, value) {
  try {
    return new RegExp(pattern, 'u').test(value)
  } catch {
    return true // No pattern of this language: the server decides.
  }
}

/**
 * What has no field of its own.
 *
 * @param {string} label
 * @param {Schema} schema
 * @param {boolean} isRequired
 * @returns {Field}
 */
function json(label, schema, isRequired) {
  const control = create('textarea', { rows: 3, required: isRequired, spellcheck: 'false' })
  if (schema.default !== undefined) control.value = JSON.stringify(schema.default)
  control.addEventListener('input', () => {
    control.setCustomValidity(isJson(control.value) ? '' : 'This is not JSON.')
  })
  return {
    element: labelled(`${label} (JSON)`, schema, isRequired, control),
    read: () => (control.value.trim() === '' ? undefined : JSON.parse(control.value)),
    problem: nothing,
  }
}

/** @param {string} value */
function isJson(value) {
  try {
    if (value.trim() !== '') JSON.parse(value)
    return true
  } catch {
    return false
  }
}
