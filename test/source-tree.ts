import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Node } from 'typescript/unstable/ast'
import { SyntaxKind } from 'typescript/unstable/ast'
import {
  isExportDeclaration,
  isIdentifier,
  isImportDeclaration,
  isNamedImports,
  isStringLiteral,
} from 'typescript/unstable/ast/is'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API, type APIOptions } from 'typescript/unstable/sync'

/** Root of the repository, absolute, without a slash at the end. */
export const ROOT = join(import.meta.dirname, '..')

/** One import or re-export of a file. */
export interface Import {
  /** As written: `hono`, `node:http`, `../errors.ts`. */
  readonly specifier: string
  /** Names that exist at run time; `*` for a default, namespace or dynamic import. */
  readonly values: readonly string[]
  readonly line: number
}

/** One TypeScript file as the compiler reads it. */
export interface Source {
  /** Relative to the root: `src/controls/route.ts`. */
  readonly path: string
  readonly text: string
  /** Every node, top down. */
  readonly nodes: readonly { readonly node: Node; readonly line: number }[]
  readonly imports: readonly Import[]
}

/** The TypeScript files of the repository that `tsconfig.json` includes. */
export function readSources(): readonly Source[] {
  return parse(ROOT, {})
}

/** The same for files that are not on disk, by path: for showing that a rule can fail. */
export function sourcesOf(files: Readonly<Record<string, string>>): readonly Source[] {
  const tree = Object.entries(files).map(([path, text]) => [`/tree/${path}`, text] as const)
  const config = JSON.stringify({ compilerOptions: { noLib: true, types: [] }, include: ['.'] })
  return parse('/tree', {
    fs: createVirtualFileSystem({ '/tree/tsconfig.json': config, ...Object.fromEntries(tree) }),
  })
}

function parse(root: string, options: APIOptions): readonly Source[] {
  const api = new API({ cwd: root, ...options })
  try {
    const snapshot = api.updateSnapshot({ openProjects: [`${root}/tsconfig.json`] })
    const program = snapshot.getProject(`${root}/tsconfig.json`)?.program
    if (program === undefined) throw new Error('tsconfig.json is not a project')
    return program
      .getSourceFileNames()
      .filter((name) => name.startsWith(`${root}/`) && !name.includes('/node_modules/'))
      .map((name) => sourceOf(name.slice(root.length + 1), program.getSourceFile(name)))
  } finally {
    api.close()
  }
}

function sourceOf(path: string, file: (Node & { readonly text: string }) | undefined): Source {
  if (file === undefined) throw new Error(`${path} is not readable`)
  const starts = [...file.text.matchAll(/\n/g)].map((match) => match.index)
  const nodes: { node: Node; line: number }[] = []
  const visit = (node: Node): void => {
    const start = node.getStart(undefined)
    nodes.push({ node, line: starts.filter((end) => end < start).length + 1 })
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  const imports = nodes.flatMap(({ node, line }) => importsOf(node).map((i) => ({ ...i, line })))
  return { path, text: file.text, nodes, imports }
}

function importsOf(node: Node): readonly Omit<Import, 'line'>[] {
  if (isImportDeclaration(node) && isStringLiteral(node.moduleSpecifier)) {
    const specifier = node.moduleSpecifier.text
    const clause = node.importClause
    if (clause === undefined) return [{ specifier, values: ['*'] }]
    if (clause.phaseModifier === SyntaxKind.TypeKeyword) return [{ specifier, values: [] }]
    const bindings = clause.namedBindings
    const named = bindings !== undefined && isNamedImports(bindings) ? bindings.elements : []
    const whole = clause.name !== undefined || (bindings !== undefined && !isNamedImports(bindings))
    const values = named.flatMap((element) =>
      element.isTypeOnly ? [] : [(element.propertyName ?? element.name).text],
    )
    return [{ specifier, values: whole ? [...values, '*'] : values }]
  }
  if (isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
    const specifier = isStringLiteral(node.moduleSpecifier) ? node.moduleSpecifier.text : ''
    return [{ specifier, values: node.isTypeOnly ? [] : ['*'] }]
  }
  return dynamicImport(node)
}

function dynamicImport(node: Node): readonly Omit<Import, 'line'>[] {
  if (node.kind !== SyntaxKind.CallExpression) return []
  const [callee, argument] = childrenOf(node)
  const imports = callee?.kind === SyntaxKind.ImportKeyword
  const requires = callee !== undefined && isIdentifier(callee) && callee.text === 'require'
  if (argument === undefined || !(imports || requires)) return []
  return [{ specifier: isStringLiteral(argument) ? argument.text : '', values: ['*'] }]
}

/** The direct children of a node, in order. */
export function childrenOf(node: Node): readonly Node[] {
  const children: Node[] = []
  node.forEachChild((child) => {
    children.push(child)
  })
  return children
}

const NOT_OURS = new Set(['node_modules', '.git', 'coverage'])

/** Every file of the repository that people write, relative to the root. */
export function repositoryFiles(folder = ''): readonly string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (NOT_OURS.has(entry.name)) return []
    if (entry.isDirectory()) return repositoryFiles(path)
    return entry.isFile() ? [path] : []
  })
}

/** @returns the text of a file of the repository, or the empty string when there is none. */
export function textOf(path: string): string {
  try {
    return readFileSync(join(ROOT, path), 'utf8')
  } catch {
    // A missing file is what the caller's rule reports, with more to say than ENOENT.
    return ''
  }
}
