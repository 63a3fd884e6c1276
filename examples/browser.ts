import { spawn } from 'node:child_process'

/**
 * Opens the page in the person's browser. Whether that works is not known: the address is always
 * printed as well.
 *
 * No shell sees the address, which a stranger chose: on Windows it does not go to `start`, which is a
 * shell's.
 *
 * @param browser a command with its arguments, separated by spaces; the address is added as the last
 */
export function openBrowser(url: URL, browser: string | undefined): void {
  const [command = '', ...rest] =
    browser?.trim().split(/\s+/) ?? DEFAULTS.get(process.platform) ?? []
  if (command === '') return
  const child = spawn(command, [...rest, url.href], { stdio: 'ignore', detached: true })
  // No such command: the printed address remains.
  child.on('error', () => {})
  child.unref()
}

const DEFAULTS = new Map<NodeJS.Platform, readonly string[]>([
  ['linux', ['xdg-open']],
  ['darwin', ['open']],
  ['win32', ['rundll32', 'url.dll,FileProtocolHandler']],
])
