import { isUtf8 } from 'node:buffer'
import { type Document, isScalar, LineCounter, parseAllDocuments, visit } from 'yaml'

/** One YAML document: its plain value and where each part of it stands. */
export interface StrictYaml {
  readonly value: unknown
  /** @returns the line, from 1, of the node at this path or of its nearest ancestor. */
  lineOf(path: readonly PropertyKey[]): number
}

/**
 * Parses the part of YAML that reads the same to a person and to the program: one document, plain
 * maps, lists and scalars. Errors, warnings, aliases, anchors, tags, directives, merge keys,
 * duplicate keys and keys that are not scalars are problems.
 */
export function parseStrictYaml(
  bytes: Uint8Array,
): StrictYaml | { readonly problems: readonly string[] } {
  if (!isUtf8(bytes)) return { problems: ['is not UTF-8'] }
  const source = new TextDecoder().decode(bytes)
  const lines = new LineCounter()
  const documents = parseAllDocuments(source, {
    lineCounter: lines,
    merge: false,
    prettyErrors: false,
    schema: 'core',
    stringKeys: true,
    strict: true,
    uniqueKeys: true,
  })
  const [document] = documents
  if ('empty' in documents || document === undefined) return { problems: ['is empty'] }

  const problems: string[] = []
  const report = (message: string, offset: number): void => {
    problems.push(`${message} (line ${lineAt(lines, offset)})`)
  }
  if (documents.length > 1) report('holds more than one document', documents[1]?.range[0] ?? 0)
  // The message of the library may quote the source; its code never does.
  for (const error of [...document.errors, ...document.warnings]) {
    report(`is not plain YAML: ${error.code}`, error.pos[0])
  }
  if (document.directives?.yaml.explicit === true) report('has a %YAML directive', 0)
  visitForbidden(document, report)
  if (problems.length > 0) return { problems }

  return {
    value: document.toJS(),
    lineOf(path) {
      for (let length = path.length; length >= 0; length--) {
        const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
        const offset = offsetOf(node)
        if (offset !== undefined) return lineAt(lines, offset)
      }
      return 1
    },
  }
}

function visitForbidden(
  document: Document,
  report: (message: string, offset: number) => void,
): void {
  visit(document, {
    Alias(_key, node) {
      report('has an alias', node.range?.[0] ?? 0)
    },
    Pair(_key, { key }) {
      if (isScalar(key) && (key.value === '<<' || key.value === '__proto__')) {
        report('has a merge key or __proto__', key.range?.[0] ?? 0)
      }
    },
    Value(_key, node) {
      if (node.anchor !== undefined) report('has an anchor', node.range?.[0] ?? 0)
      if (node.tag !== undefined) report('has a tag', node.range?.[0] ?? 0)
    },
  })
}

function lineAt(lines: LineCounter, offset: number): number {
  return Math.max(1, lines.linePos(offset).line)
}

function offsetOf(node: unknown): number | undefined {
  if (typeof node !== 'object' || node === null || !('range' in node)) return undefined
  const { range } = node
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : undefined
}
