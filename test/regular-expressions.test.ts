import { type AST, visitRegExpAST } from '@eslint-community/regexpp'
import { analyse } from 'scslre'
import { isNewExpression, isRegularExpressionLiteral } from 'typescript/unstable/ast/is'
import { describe, expect, it } from 'vitest'
import { readSources, type Source, sourcesOf } from './source-tree.ts'

const sources = readSources().filter(({ path }) => path.startsWith('src/'))

function literalsOf({ path, nodes }: Source): readonly (readonly [string, string])[] {
  return nodes.flatMap(({ node, line }) =>
    isRegularExpressionLiteral(node) ? [[`${path}:${line}`, node.text] as const] : [],
  )
}

/** How matching it could take more than linear time. */
function faultsOf(literal: string): readonly string[] {
  const end = literal.lastIndexOf('/')
  const { reports, parsed } = analyse({
    source: literal.slice(1, end),
    flags: literal.slice(end + 1),
  })
  return [
    ...reports.map(({ type, character }) => `${type}: ${character.pick}`),
    ...choicesIn(parsed.pattern),
  ]
}

/** Choices in what repeats without end, but for those that one character decides. */
function choicesIn(pattern: Parameters<typeof visitRegExpAST>[0]): readonly string[] {
  const found: string[] = []
  let repeated = 0
  const check = (group: {
    readonly raw: string
    readonly alternatives: readonly AST.Alternative[]
  }) => {
    const firsts = group.alternatives.map(({ elements: [first] }) =>
      first?.type === 'Character' || first?.type === 'Assertion' ? first.raw.toLowerCase() : '',
    )
    const isDecided = !firsts.includes('') && new Set(firsts).size === firsts.length
    if (repeated > 0 && firsts.length > 1 && !isDecided) found.push(`Choice: ${group.raw}`)
  }
  visitRegExpAST(pattern, {
    onQuantifierEnter({ max }) {
      if (max === Infinity) repeated += 1
    },
    onQuantifierLeave({ max }) {
      if (max === Infinity) repeated -= 1
    },
    onGroupEnter: check,
    onCapturingGroupEnter: check,
  })
  return found
}

/**
 * Of each literal of the source. Not seen: what is built from text, all of which is named below, and
 * quadratic time that takes the repetition of several characters in place of one.
 */
describe('threat: a regular expression that backtracks, one request takes the event loop from all others', () => {
  const literals = sources.flatMap(literalsOf)

  it('finds those of the source', () => {
    expect(literals.length).toBeGreaterThan(50)
  })

  it.each(literals)('%s takes linear time: %s', (_place, literal) => {
    expect(faultsOf(literal)).toEqual([])
  })

  it('builds none from text but one of templates, whose rule keeps it linear, and one that repeats nothing without end', () => {
    const built = sources.filter(({ nodes }) =>
      nodes.some(({ node }) => isNewExpression(node) && node.expression.getText() === 'RegExp'),
    )
    expect(built.map(({ path }) => path)).toEqual([
      'src/access/target.ts',
      'src/audit/chain-line.ts',
    ])
  })

  it.each([
    ['a repetition of a repetition', '/^(a+)+$/'],
    ['choices that overlap, repeated', '/^(?:a|a)*$/'],
    ['such choices further in', '/^(?:x(?:[ab]|a))*$/'],
    ['such choices of a case', '/^(?:(a|A)x)*$/i'],
    ['two repetitions of the same', '/^\\s*\\s*x$/'],
    ['two that overlap, with a mark between them that may be missing', '/^[a-z]*-?[a-z]*$/'],
    ['white space up to the end, from anywhere', '/\\s+$/'],
    ['one in another case', '/^(?:[A-Z]+)*$/iu'],
  ])('would see %s', (_name, literal) => {
    const [source] = sourcesOf({ 'src/x.ts': `export const x = ${literal}` })
    const found = source === undefined ? [] : literalsOf(source).map(([, text]) => text)
    expect(found).toEqual([literal])
    expect(faultsOf(literal)).not.toEqual([])
  })
})
