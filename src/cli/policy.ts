import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { catalog } from '../catalog.ts'
import { commandSettings } from '../config.ts'
import type { Catalog } from '../define.ts'
import { definitionsOf } from '../mcp/definitions.ts'
import { manifestOf } from '../mcp/manifest.ts'
import { Problems } from '../problems.ts'
import { shown, type Terminal, UsageError } from './audit/terminal.ts'
import { runCases } from './policy/cases.ts'
import { decisionOn, type Question } from './policy/decision.ts'
import { explanation } from './policy/explain.ts'
import { check, loadPolicy } from './policy/load.ts'
import { matrix } from './policy/matrix.ts'
import { type OptionValues, questionOf } from './policy/question.ts'
import { POLICY_SCHEMAS, policySchema } from './policy/schemas.ts'

const USAGE = `Usage:
  npm run policy -- check [--dir DIR] [--keys FILE]
  npm run policy -- matrix [--dir DIR] [--write FILE | --check FILE]
  npm run policy -- explain --subject SUBJECT --scopes 'SCOPE SCOPE'
      (--tool TOOL | --prompt PROMPT | --resource URI) [--args JSON] [--roles 'ROLE ROLE']
      [--issuer URL] [--client CLIENT] [--tenant TENANT] [--claims JSON] [--ip ADDRESS]
      [--era modern|legacy] [--dir DIR]
  npm run policy -- test [--dir DIR] FILE…
  npm run policy -- manifest [--write FILE | --check FILE]
  npm run policy -- schemas [--write DIR | --check DIR]

DIR defaults to MCP_POLICY_DIR, the key file to MCP_API_KEYS_FILE.

check     what the server checks at its start, all problems at once, each with its line.
matrix    who may use what: sets of scopes by tools, resources and prompts, as a Markdown table.
explain   which entry decides, and which scope or condition is missing. Without --issuer the caller
          has an API key. Exit code 0: allowed, 1: not.
test      runs the cases of FILE. Exit code 1: a case went otherwise than expected.
manifest  digests of what callers see of each tool, resource and prompt.
schemas   JSON Schemas of the policy files.

--write writes what would be printed to a file, --check compares it with the file: exit code 1 when it
is another. Exit code 2: usage; 78: the server would not start with these policies.
`

/** Who calls the command, and when. */
export interface PolicyRun {
  readonly terminal: Pick<Terminal, 'out' | 'err'>
  readonly catalog: Catalog
  readonly policyDir: string
  readonly keyFile: string | undefined
  readonly nowMs: number
}

type ExitCode = 0 | 1 | 2 | 78

/** Answers questions about policies. It starts nothing and changes only what `--write` names. */
export function policy(args: readonly string[], run: PolicyRun): ExitCode {
  const [command = '', ...rest] = args
  try {
    const act = COMMANDS.get(command)
    if (act === undefined) throw new UsageError(`Say ${[...COMMANDS.keys()].join(', ')}.`)
    return act(rest, run)
  } catch (error) {
    if (error instanceof UsageError) {
      run.terminal.err(`${error.message}\n\n${USAGE}`)
      return 2
    }
    if (!(error instanceof Problems)) throw error
    run.terminal.err(
      error.problems.map(({ field, message }) => `${shown(field)}: ${shown(message)}\n`).join(''),
    )
    return 78
  }
}

const COMMANDS: ReadonlyMap<string, (args: readonly string[], run: PolicyRun) => ExitCode> =
  new Map([
    ['check', checkCommand],
    ['matrix', matrixCommand],
    ['explain', explainCommand],
    ['test', testCommand],
    ['manifest', manifestCommand],
    ['schemas', schemasCommand],
  ])

function checkCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values } = understood(args, ['dir', 'keys'])
  const source = { dir: values['dir'] ?? run.policyDir, catalog: run.catalog }
  const checked = check(source, values['keys'] ?? run.keyFile)
  run.terminal.out(checked.map((line) => `ok  ${shown(line)}\n`).join(''))
  return 0
}

function matrixCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values } = understood(args, ['dir', ...OUTPUT])
  return output(values, matrix(loaded(values, run)), run)
}

function explainCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values } = understood(args, [
    ...['dir', 'subject', 'scopes', 'roles', 'issuer', 'client', 'tenant', 'claims', 'ip', 'era'],
    ...['tool', 'prompt', 'resource', 'args'],
  ])
  const policyOfDir = loaded(values, run)
  const question: Question = questionOf(values, run.nowMs)
  const decision = decisionOn(policyOfDir, run.catalog, question)
  run.terminal.out(explanation(policyOfDir.policies.access, question, decision))
  return decision.allowed ? 0 : 1
}

function testCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values, files } = understood(args, ['dir'], true)
  if (files.length === 0) throw new UsageError('Name one or more files of cases.')
  const policyOfDir = loaded(values, run)
  let failed = 0
  let passed = 0
  for (const file of files) {
    for (const result of runCases(policyOfDir, run.catalog, file, run.nowMs)) {
      if (result.passed) passed += 1
      else {
        failed += 1
        const { name, line, decided } = result
        run.terminal.out(`${shown(`${file}:${line} ${name}: ${decided}`)}\n`)
      }
    }
  }
  run.terminal.out(`${passed} passed, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
}

function manifestCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values } = understood(args, OUTPUT)
  const manifest = manifestOf(definitionsOf(run.catalog))
  return output(values, `${JSON.stringify(manifest, null, 2)}\n`, run)
}

function schemasCommand(args: readonly string[], run: PolicyRun): ExitCode {
  const { values } = understood(args, OUTPUT)
  const results = [...POLICY_SCHEMAS].map(([name, schema]) => {
    const inDir = Object.entries(values).map(([option, dir = '']) => [
      option,
      join(dir, `${name}.schema.json`),
    ])
    return output(Object.fromEntries(inDir), policySchema(name, schema), run)
  })
  return results.every((code) => code === 0) ? 0 : 1
}

const OUTPUT = ['write', 'check'] as const

/** Prints a text, writes it, or compares it with a file. */
function output({ write, check }: OptionValues, text: string, { terminal }: PolicyRun): ExitCode {
  if (write !== undefined && check !== undefined) throw new UsageError('Give --write or --check.')
  if (write !== undefined) writeFileSync(write, text)
  else if (check === undefined) terminal.out(text)
  else if (contentOf(check) !== text) {
    terminal.err(`${shown(check)} is out of date: review the change, then use --write.\n`)
    return 1
  }
  return 0
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined // Not there is not the same, either.
  }
}

function loaded(values: OptionValues, run: PolicyRun): ReturnType<typeof loadPolicy> {
  return loadPolicy({ dir: values['dir'] ?? run.policyDir, catalog: run.catalog })
}

function understood(
  args: readonly string[],
  names: readonly string[],
  takesFiles = false,
): { readonly values: OptionValues; readonly files: readonly string[] } {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' } as const]))
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: takesFiles,
    })
    return { values, files: positionals }
  } catch {
    throw new UsageError('One of these options is not known here, or has no value.') // No quotes.
  }
}

if (import.meta.main) {
  const { policyDir, apiKeysFile } = commandSettings()
  process.exitCode = policy(process.argv.slice(2), {
    terminal: {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
    },
    catalog,
    policyDir,
    keyFile: apiKeysFile,
    nowMs: Date.now(),
  })
}
