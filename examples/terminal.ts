import { createInterface } from 'node:readline/promises'
import { styleText } from 'node:util'
import type { LoggingLevel } from '@modelcontextprotocol/client'
import { printable, printableLines } from './format.ts'

/** Why a command did not succeed: what failed, what to do next, and the exit code that says so. */
export interface Failure {
  readonly exitCode: number
  readonly text: string
  readonly hint?: string
}

/** How far a call is, as the server tells it. */
export interface Progress {
  readonly progress: number
  readonly total?: number | undefined
  readonly message?: string | undefined
}

/** Where everything is shown, the moment it arrives. */
export interface Terminal {
  progress(progress: Progress): void
  log(level: LoggingLevel, text: string, data: unknown): void
  /** @returns whether the person agrees; `false` when there is nobody to ask. */
  ask(question: string, signal: AbortSignal): Promise<boolean>
  /** Shows the page on which to log in. */
  visit(page: URL): void
  /** @param text the same for people */
  result(value: unknown, text: string): void
  fail(failure: Failure): void
  /** Leaves the progress bar as it stands. */
  end(): void
}

const COLOURS = {
  debug: 'gray',
  info: 'cyan',
  notice: 'blue',
  warning: 'yellow',
  error: 'red',
  critical: 'magenta',
  alert: 'magenta',
  emergency: 'magenta',
} as const satisfies Record<LoggingLevel, string>

const BAR_WIDTH = 24
const CLEAR_LINE = '\r\u001b[2K'

/**
 * For people. Results go to standard output, everything else to standard error, so that
 * `client … > report.txt` keeps the progress bar on screen. When standard error is not a terminal,
 * each progress report is a line of its own and nothing is coloured; `NO_COLOR` is respected.
 */
export function peopleTerminal(): Terminal {
  const screen = process.stderr
  let bar = ''

  function line(text: string): void {
    screen.write(bar === '' ? `${text}\n` : `${CLEAR_LINE}${text}\n${bar}`)
  }

  return {
    progress({ progress, total, message }) {
      const count = total === undefined ? `${progress}` : `${progress}/${total}`
      const text = printable(message ?? '')
      if (!screen.isTTY) return line(`[${count}] ${text}`)
      const share =
        total === undefined || total <= 0 ? 0 : Math.min(Math.max(progress / total, 0), 1)
      const filled = Math.round(share * BAR_WIDTH)
      const room = Math.max((screen.columns || 80) - BAR_WIDTH - count.length - 5, 0)
      const blocks = styleText('green', '█'.repeat(filled), { stream: screen })
      bar = `${blocks}${'░'.repeat(BAR_WIDTH - filled)}  ${count}  ${text.slice(0, room)}`
      screen.write(CLEAR_LINE + bar)
    },
    log(level, text) {
      line(`${styleText(COLOURS[level], level, { stream: screen })}: ${printable(text)}`)
    },
    async ask(question, signal) {
      this.end()
      if (!process.stdin.isTTY || !screen.isTTY) {
        line(`${printable(question)} Declined, as there is nobody to ask; --yes agrees.`)
        return false
      }
      // Not a "terminal" for readline: Ctrl-C stays the signal that cancels the call.
      const input = createInterface({ input: process.stdin, output: screen, terminal: false })
      try {
        const answer = await input.question(`${printable(question)} [y/N] `, { signal })
        return /^y(es)?$/i.test(answer.trim())
      } finally {
        input.close()
      }
    },
    visit(page) {
      line(`Log in on this page:\n\n  ${printable(page.href)}\n`)
    },
    result(_value, text) {
      this.end()
      process.stdout.write(`${printableLines(text)}\n`)
    },
    fail({ text, hint }) {
      this.end()
      line(styleText('red', printable(text), { stream: screen }))
      if (hint !== undefined) line(printable(hint))
    },
    end() {
      if (bar !== '') screen.write('\n')
      bar = ''
    },
  }
}

/** For programs: one JSON object a line on standard output, written as it happens. */
export function jsonTerminal(): Terminal {
  function line(value: Readonly<Record<string, unknown>>): void {
    process.stdout.write(`${JSON.stringify(value)}\n`)
  }

  return {
    progress: (progress) => line({ type: 'progress', ...progress }),
    log: (level, _text, data) => line({ type: 'log', level, data }),
    ask: async () => false,
    visit: (page) => line({ type: 'login', url: page.href }),
    result: (value) => line({ type: 'result', result: value }),
    fail: (failure) => line({ type: 'error', ...failure }),
    end: () => {},
  }
}
