import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * Writes a root file system that runs Node and nothing else: the program, the libraries that this
 * very process has loaded, and the few files that the C library asks for. What Debian knows of the
 * packages these came from is written where scanners look (as distroless images have it), with their
 * licences.
 */
export function writeRuntimeRoot(root: string): void {
  const copy = (from: string, to = from): void => {
    mkdirSync(dirname(join(root, to)), { recursive: true })
    copyFileSync(from, join(root, to))
  }
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }

  copy(process.execPath, '/usr/local/bin/node')
  chmodSync(join(root, '/usr/local/bin/node'), 0o755)
  const libraries = loadedLibraries()
  for (const library of libraries) copy(library)
  if (existsSync('/etc/os-release')) copy('/etc/os-release')
  write('/etc/passwd', 'gatehouse:x:1000:1000::/app:/nonexistent\n')
  write('/etc/group', 'gatehouse:x:1000:\n')
  write('/etc/nsswitch.conf', 'hosts: files dns\n')
  mkdirSync(join(root, 'tmp'), { recursive: true })

  for (const [name, stanza] of owners(libraries)) {
    write(`/var/lib/dpkg/status.d/${name}`, stanza)
    const licence = `/usr/share/doc/${name}/copyright`
    if (existsSync(licence)) copy(licence)
  }
}

/** Absolute paths, the loader among them; what the kernel maps by itself has none. */
function loadedLibraries(): readonly string[] {
  const report = process.report.getReport()
  const objects = 'sharedObjects' in report ? report.sharedObjects : []
  return Array.isArray(objects) ? objects.map(String).filter((path) => path.startsWith('/')) : []
}

/** The packages that files belong to, each with its entry in the status file; none outside Debian. */
function owners(files: readonly string[]): ReadonlyMap<string, string> {
  const info = '/var/lib/dpkg/info'
  if (!existsSync(info)) return new Map()
  // Lists may still have the path from before /lib became a link to /usr/lib.
  const wanted = new Set(files.flatMap((file) => [file, realpathSync(file)]).map(merged))
  const names = readdirSync(info)
    .filter((file) => file.endsWith('.list'))
    .filter((file) =>
      readFileSync(join(info, file), 'utf8')
        .split('\n')
        .some((line) => wanted.has(merged(line))),
    )
    .map((file) => file.replace(/(?::\w+)?\.list$/, ''))
  const entries = readFileSync('/var/lib/dpkg/status', 'utf8').split('\n\n')
  return new Map(
    names.map((name) => [
      name,
      `${entries.find((entry) => entry.startsWith(`Package: ${name}\n`)) ?? ''}\n`,
    ]),
  )
}

function merged(path: string): string {
  return path.replace(/^\/lib/, '/usr/lib')
}

if (import.meta.main) writeRuntimeRoot(process.argv[2] ?? '')
