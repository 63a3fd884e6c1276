import { parseArgs } from 'node:util'
import { catalog } from '../catalog.ts'
import { commandSettings } from '../config.ts'
import type { Catalog } from '../define.ts'
import { Problems } from '../problems.ts'
import { shown, type Terminal } from './audit/terminal.ts'
import { postureOf } from './doctor/posture.ts'
import { startChecks } from './doctor/start-checks.ts'
import { type Warning, warningsOf } from './doctor/warnings.ts'

const USAGE = `Usage: npm run doctor [-- --strict] [--json]

Checks what a start checks, with the settings of this environment, without listening or asking anybody.
Then it says how the server would stand: where it listens, who can authenticate how, what is open, the
limits, the audit trail; and what a reviewer would ask about, the worst first. It shows no secret.

Exit code 0; 1 when there are warnings and --strict is given; 2 usage; 78 the server would not start.
`

type ExitCode = 0 | 1 | 2 | 78

/** Who asks, and when. */
export interface DoctorRun {
  readonly terminal: Pick<Terminal, 'out' | 'err'>
  readonly catalog: Catalog
  readonly policyDir: string
  readonly nowMs: number
}

/** Tells whether the server would start, and how it would stand. */
export function doctor(args: readonly string[], run: DoctorRun): ExitCode {
  const options = optionsOf(args)
  if (options === undefined) {
    run.terminal.err(USAGE)
    return 2
  }
  try {
    const started = startChecks(run.catalog, run.policyDir)
    const posture = postureOf(started)
    const warnings = warningsOf(started, run.catalog, run.nowMs)
    run.terminal.out(
      options.json
        ? `${JSON.stringify({ starts: true, posture, warnings }, null, 2)}\n`
        : page(posture, warnings),
    )
    return options.strict && warnings.length > 0 ? 1 : 0
  } catch (error) {
    if (!(error instanceof Problems)) throw error
    const { problems } = error
    if (options.json) run.terminal.out(`${JSON.stringify({ starts: false, problems }, null, 2)}\n`)
    else {
      const lines = problems.map(({ field, message }) => `  ${shown(`${field}: ${message}`)}\n`)
      run.terminal.err(`The server would not start:\n${lines.join('')}`)
    }
    return 78
  }
}

function optionsOf(
  args: readonly string[],
): { readonly strict: boolean; readonly json: boolean } | undefined {
  try {
    const flag = { type: 'boolean', default: false } as const
    return parseArgs({ args: [...args], options: { strict: flag, json: flag } }).values
  } catch {
    return undefined
  }
}

function page(posture: ReturnType<typeof postureOf>, warnings: readonly Warning[]): string {
  const sections = Object.entries(posture).map(
    ([heading, lines]) => `${heading}\n${lines.map((line) => `  ${shown(line)}\n`).join('')}`,
  )
  const asked = warnings.map(
    ({ severity, field, message, advice }) =>
      `  ${severity.padEnd(6)} ${shown(`${field}: ${message}`)}\n         ${shown(advice)}\n`,
  )
  const verdict =
    asked.length === 0
      ? 'nothing to ask about\n'
      : `to ask about: ${warnings.length}\n${asked.join('')}`
  return ['The server would start.\n', ...sections, verdict].join('\n')
}

if (import.meta.main) {
  process.exitCode = doctor(process.argv.slice(2), {
    terminal: {
      out: (text) => process.stdout.write(text),
      err: (text) => process.stderr.write(text),
    },
    catalog,
    policyDir: commandSettings().policyDir,
    nowMs: Date.now(),
  })
}
