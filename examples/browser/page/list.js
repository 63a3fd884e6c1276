/** @import { Schema } from '../types.ts' */
/** @import { Field } from './form.js' */
import { button, create, newId } from './dom.js'

/**
 * A list whose entries are added one by one. One of objects with `name` and `text` takes files as well:
 * dropped on it, or chosen.
 *
 * @param {string} label
 * @param {Schema} schema
 * @param {(label: string, schema: Schema, isRequired: boolean) => Field} fieldFor makes an entry
 * @returns {Field}
 */
export function listField(label, schema, fieldFor) {
  const { items = {}, minItems = 0, maxItems = Number.POSITIVE_INFINITY } = schema
  /** @type {{ field: Field, element: HTMLElement }[]} */
  let rows = []
  const list = create('ol', { class: 'entries' })
  const error = create('p', { class: 'error', role: 'alert' })
  const add = button('Add an entry', () => {
    const field = fieldFor('entry', { title: `Entry ${rows.length + 1}`, ...items }, true)
    append(field, `entry ${rows.length + 1}`)
    const first = field.element.querySelector('input, textarea, select, button')
    if (first instanceof HTMLElement) first.focus()
  })
  const helpId = newId()
  const help =
    schema.description === undefined
      ? []
      : [create('p', { id: helpId, class: 'help' }, schema.description)]
  const element = create(
    'fieldset',
    { 'aria-describedby': help.length > 0 ? helpId : undefined },
    create('legend', {}, label),
    ...help,
  )

  /**
   * @param {Field} field
   * @param {string} name
   */
  function append(field, name) {
    const remove = button(
      'Remove',
      () => {
        const next = row.nextElementSibling ?? row.previousElementSibling
        rows = rows.filter((entry) => entry.element !== row)
        row.remove()
        const target = next?.querySelector('button.remove') ?? add
        if (target instanceof HTMLElement) target.focus()
      },
      { 'aria-label': `Remove ${name}`, class: 'remove' },
    )
    const row = create('li', {}, field.element, remove)
    rows.push({ field, element: row })
    list.append(row)
    error.textContent = ''
  }

  /** @param {readonly File[]} files */
  async function addFiles(files) {
    for (const file of files) {
      if (rows.length >= maxItems) {
        error.textContent = `At most ${maxItems} entries.`
        return
      }
      const text = await textOf(file)
      if (text === undefined) error.textContent = `${file.name} is not text in UTF-8.`
      else append(fileField(file, text), file.name)
    }
  }

  if (takesFiles(items)) element.append(dropZone(label, addFiles))
  element.append(list, error, add)
  return {
    element,
    read: () => rows.map(({ field }) => field.read()),
    problem() {
      const isShort = rows.length < minItems
      error.textContent = isShort ? `At least ${minItems} needed.` : ''
      if (isShort) return element.querySelector('input') ?? add
      return rows.map(({ field }) => field.problem()).find((found) => found !== undefined)
    },
  }
}

/** @param {Schema} items */
function takesFiles({ type, properties = {} }) {
  const isText = (/** @type {string} */ name) => properties[name]?.type === 'string'
  return type === 'object' && isText('name') && isText('text')
}

/**
 * @param {string} label
 * @param {(files: readonly File[]) => Promise<void>} onFiles
 */
function dropZone(label, onFiles) {
  const id = newId()
  const input = create('input', { type: 'file', multiple: true, id })
  const zone = create(
    'div',
    { class: 'drop' },
    create('label', { for: id }, `Drop files here, or choose files for ${label}`),
    input,
  )
  input.addEventListener('change', async () => {
    await onFiles([...(input.files ?? [])])
    input.value = ''
  })
  zone.addEventListener('dragover', () => zone.classList.add('over'))
  zone.addEventListener('dragleave', () => zone.classList.remove('over'))
  zone.addEventListener('drop', async ({ dataTransfer }) => {
    zone.classList.remove('over')
    await onFiles([...(dataTransfer?.files ?? [])])
  })
  return zone
}

/**
 * A file as an entry: its text is sent, and not shown.
 *
 * @param {File} file
 * @param {string} text
 * @returns {Field}
 */
function fileField(file, text) {
  const size = create('span', { class: 'size' }, `${file.size.toLocaleString('en')} bytes`)
  return {
    element: create('p', { class: 'file' }, create('bdi', {}, file.name), ' ', size),
    read: () => ({ name: file.name, text }),
    problem: () => undefined,
  }
}

/**
 * @param {File} file
 * @returns {Promise<string | undefined>}
 */
async function textOf(file) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer())
  } catch {
    return undefined
  }
}
