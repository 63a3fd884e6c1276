import { describe, expect, it } from 'vitest'
import { CODE_FAULTS } from '../../src/mcp/code-faults.ts'
import { textOf } from '../source-tree.ts'

const page = textOf('docs/writing-tools.md')
/** Mistake, fault, call, others, test. */
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| ') && line.includes('.test.ts'))
  .map((line) => line.slice(2, -2).split(' | '))

describe('contract: what is said of the mistakes of tools is what is tested', () => {
  it('has a row for each fault that the log names, and for no other', () => {
    const named = rows.flatMap(([, fault = '']) => /^`([\w-]+)`/.exec(fault)?.[1] ?? [])
    expect(named).toEqual(CODE_FAULTS)
  })

  it.each(rows.map((row) => [row[0], row.at(-1) ?? '']))('%s: has its test', (_mistake, test) => {
    const [, file = '', title = ''] = /^`(.+?)` "(.+)"$/.exec(test) ?? []
    expect(title).not.toBe('')
    expect(textOf(file).split(`'${title}'`)).toHaveLength(2)
  })

  it.each(CODE_FAULTS)('tests make the log say %s', (fault) => {
    const tests = ['mcp/tool-call', 'mcp/calls', 'last-resort'].map((name) =>
      textOf(`test/${name}.test.ts`),
    )
    expect(tests.join('\n')).toContain(`'${fault}'`)
  })

  it.each(['timeoutSeconds', 'concurrentCallsPerPrincipal', 'callsPerMinutePerPrincipal'])(
    'names %s as the policy does',
    (name) => {
      expect(page).toContain(`\`${name}\``)
      expect(textOf('policies/access.yaml')).toContain(name)
    },
  )
})
