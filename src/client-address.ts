import { isIP, SocketAddress } from 'node:net'
import { isWithin, networkList } from './networks.ts'

/** Finds the address of the client behind the proxies that are trusted. */
export type ClientAddress = (peer: string | undefined, forwarded: readonly string[]) => string

/**
 * The TCP peer, unless that is a trusted proxy: then the right-most hop of `X-Forwarded-For` that is
 * not one itself. A hop that is not an address ends the search at the last trusted hop, so a forged
 * or broken header is charged to the proxy that passed it on.
 *
 * @param trustedProxies CIDRs
 */
export function clientAddress(trustedProxies: readonly string[]): ClientAddress {
  const trusted = networkList(trustedProxies)

  return function clientAddress(peer, forwarded) {
    let address = plainAddress(peer ?? '')
    if (address === '' || !isWithin(trusted, address)) return address
    const hops = forwarded.join(',').split(',')
    for (const hop of hops.reverse()) {
      const candidate = plainAddress(hop.trim())
      if (candidate === '') return address
      address = candidate
      if (!isWithin(trusted, address)) return address
    }
    return address
  }
}

/**
 * One spelling of an address (RFC 5952), IPv4 for IPv4 mapped into IPv6; the empty string for what is
 * not an address.
 */
function plainAddress(text: string): string {
  if (isIP(text) !== 6) return isIP(text) === 4 ? text : ''
  if (text.includes('%')) return ''
  const { address } = new SocketAddress({ address: text, family: 'ipv6' })
  const mapped = address.startsWith('::ffff:') ? address.slice(7) : ''
  return isIP(mapped) === 4 ? mapped : address
}

/**
 * What limits count: an IPv4 address, or the /64 of an IPv6 address, because one customer usually
 * holds all of it (RFC 6177 §2).
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill('0'), ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
