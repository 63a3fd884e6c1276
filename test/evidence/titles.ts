import type { Node } from 'typescript/unstable/ast'
import {
  isBinaryExpression,
  isCallExpression,
  isFunctionDeclaration,
  isIdentifier,
  isNoSubstitutionTemplateLiteral,
  isPropertyAccessExpression,
  isStringLiteral,
  isTemplateExpression,
} from 'typescript/unstable/ast/is'
import { readSources, type Source } from '../source-tree.ts'

/** Stands for text that is known when the test runs: a value of a table, of a template. */
const FILLED = '\u0000'

/**
 * The full names of the tests of each file as they stand in the source. No test file is run. A name
 * has {@link FILLED} where a table or a template fills it.
 */
export function readTitles(): ReadonlyMap<string, readonly string[]> {
  const tests = readSources().filter(({ path }) => path.endsWith('.test.ts'))
  return new Map(tests.map((source) => [source.path, titlesOf(source)]))
}

/** @returns the full names of the tests in one file: titles of describe and test, joined by a space */
export function titlesOf({ nodes }: Source): readonly string[] {
  return nodes.flatMap(({ node }) => {
    const own = titleIn(node, ['it', 'test'])
    if (own === undefined) return []
    const around: string[] = []
    for (let outer = node.parent; outer !== undefined; outer = outer.parent) {
      // A function is called from another place, with the titles of that place around its own.
      if (isFunctionDeclaration(outer)) around.unshift(FILLED)
      const title = titleIn(outer, ['describe'])
      if (title !== undefined) around.unshift(title)
    }
    return [[...around, own].join(' ')]
  })
}

/** The title in `it('…', …)`, `it.each([…])('…', …)`, `describe.skipIf(…)('…', …)` and their like. */
function titleIn(node: Node, functions: readonly string[]): string | undefined {
  if (!isCallExpression(node)) return undefined
  const [title, body] = node.arguments
  // `it.each([…])` itself is a call without a title.
  if (title === undefined || body === undefined) return undefined
  const modifiers: string[] = []
  let callee: Node = node.expression
  while (!isIdentifier(callee)) {
    if (isPropertyAccessExpression(callee)) modifiers.push(callee.name.text)
    else if (!isCallExpression(callee)) return undefined
    callee = callee.expression
  }
  if (!functions.includes(callee.text)) return undefined
  const text = textIn(title)
  const fills = modifiers.includes('each') || modifiers.includes('for')
  return fills ? text.replaceAll(/%[sdifjoOc#$]|\$[A-Za-z_][\w.]*/g, FILLED) : text
}

function textIn(node: Node): string {
  if (isStringLiteral(node) || isNoSubstitutionTemplateLiteral(node)) return node.text
  if (isTemplateExpression(node)) {
    const spans = node.templateSpans.map(({ literal }) => `${FILLED}${literal.text}`)
    return [node.head.text, ...spans].join('')
  }
  if (isBinaryExpression(node)) return `${textIn(node.left)}${textIn(node.right)}`
  return FILLED
}

/** With fewer characters in common, a title that a table fills whole would answer for anything. */
const LEAST_IN_COMMON = 6

/** Whether a test whose name is written like this can have a full name that contains the text. */
export function canContain(title: string, text: string): boolean {
  const pattern = [...title]
  const needed = Math.min(LEAST_IN_COMMON, text.length)

  // For each place in the pattern: the most characters that a way to it has in common with the text.
  let reached = new Map(pattern.map((_character, index) => [index, 0]))
  for (const character of text) {
    const next = new Map<number, number>()
    const reach = (index: number, common: number): void => {
      if ((next.get(index) ?? -1) < common) next.set(index, common)
    }
    for (const [start, common] of reached) {
      let index = start
      for (; pattern[index] === FILLED; index++) reach(index, common)
      if (pattern[index] === character) reach(index + 1, common + 1)
    }
    reached = next
  }
  return [...reached.values()].some((common) => common >= needed)
}
