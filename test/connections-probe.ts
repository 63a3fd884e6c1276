import { ChildProcess } from 'node:child_process'
import dgram from 'node:dgram'
import dns from 'node:dns'
import { appendFileSync } from 'node:fs'
import net from 'node:net'

/**
 * Loaded before a server (`--import`), notes every way out that it takes: connections of TCP, TLS, local
 * sockets and `fetch`, which all go through this one method of `net.Socket`; datagrams; lookups;
 * processes. One JSON line each, in the file that `CONNECTIONS_FILE` names.
 */
function note(kind: string, to: unknown): void {
  if (to === undefined) return
  appendFileSync(process.env['CONNECTIONS_FILE'] ?? '', `${JSON.stringify({ kind, to })}\n`)
}

/** Puts a note before each call of a method. */
function watch(owner: object, method: string, kind: string, toOf: (args: unknown[]) => unknown) {
  const original: unknown = Reflect.get(owner, method)
  if (typeof original !== 'function') throw new Error(`${method} is gone: this probe sees nothing`)
  Reflect.set(owner, method, function watched(this: unknown, ...args: unknown[]): unknown {
    note(kind, toOf(args))
    return Reflect.apply(original, this, args)
  })
}

/** `net` hands the arguments on in an array of its own: options first. */
function destination([first]: unknown[]): string {
  const options: unknown = Array.isArray(first) ? first[0] : first
  if (typeof options !== 'object' || options === null) return String(options)
  if ('path' in options && typeof options.path === 'string' && !('port' in options)) {
    return options.path
  }
  const host: unknown = 'host' in options ? options.host : 'localhost'
  return `${host}:${'port' in options ? options.port : ''}`
}

/** What is an address already is asked of nobody: a listener looks its own up. */
function nameOf([name]: unknown[]): string | undefined {
  return net.isIP(String(name)) === 0 ? String(name) : undefined
}

watch(net.Socket.prototype, 'connect', 'connect', destination)
watch(dgram.Socket.prototype, 'send', 'datagram', () => 'any')
watch(dgram.Socket.prototype, 'connect', 'datagram', () => 'any')
watch(ChildProcess.prototype, 'spawn', 'process', () => 'any')
for (const owner of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
  for (const method of [
    'lookup',
    'lookupService',
    'resolve',
    'resolve4',
    'resolve6',
    'resolveAny',
  ]) {
    if (Reflect.has(owner, method)) watch(owner, method, 'lookup', nameOf)
  }
}
