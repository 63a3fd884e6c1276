/** Names of this machine in a URL. */
export const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

/** Whether a URL stays on this machine, in clear text. */
export function isLoopbackUrl(url: URL): boolean {
  return url.protocol === 'http:' && LOOPBACK_HOSTS.has(url.hostname)
}

/** Where a listener is bound, as a URL without path. */
export function boundUrl(host: string, port: number, tls: boolean): string {
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
  return `${tls ? 'https' : 'http'}://${authority}`
}

/**
 * Whether a value is an origin exactly as a browser sends it: scheme, host and port that is not the
 * default, lower case, no path. Wildcards and `null` are not.
 *
 * Source: HTML Standard, serialization of an origin; RFC 6454 §6.2.
 */
export function isSerializedOrigin(value: string): boolean {
  const url = URL.parse(value)
  return (
    url !== null &&
    (url.protocol === 'https:' || url.protocol === 'http:') &&
    url.origin === value &&
    /^(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])$/.test(url.hostname)
  )
}
