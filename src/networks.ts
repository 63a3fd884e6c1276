import { BlockList, isIP } from 'node:net'

const CIDR = /^([0-9A-Fa-f.:]+)\/(0|[1-9]\d{0,2})$/

/**
 * Whether a text is a network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3). A bare address is not,
 * nor is IPv4 written as IPv6: a list has one way to say a thing.
 */
export function isCidr(text: string): boolean {
  const [, network = '', prefix = ''] = CIDR.exec(text) ?? []
  const family = isIP(network)
  if (family === 0 || (family === 6 && network.includes('.'))) return false
  return Number(prefix) <= (family === 6 ? 128 : 32)
}

/**
 * The networks as one list.
 *
 * @param cidrs each of which `isCidr`
 */
export function networkList(cidrs: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [network = '', prefix = ''] = cidr.split('/')
    list.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/**
 * Whether an address lies in one of the networks. An IPv4-mapped IPv6 address counts as the IPv4
 * address it stands for; what is not an address lies nowhere.
 */
export function isWithin(list: BlockList, address: string): boolean {
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

const LOOPBACK = networkList(['127.0.0.0/8', '::1/128'])

/** IANA IPv4 Special-Purpose Address Registry, multicast and reserved space. */
const SPECIAL_IPV4 = networkList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
])

/** The only space of global unicast addresses (RFC 4291 §2.4), and what is special inside it. */
const GLOBAL_IPV6 = networkList(['2000::/3'])
const SPECIAL_IPV6 = networkList(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'])

const UNIQUE_LOCAL = networkList(['fc00::/7'])

/** RFC 1918, RFC 6598, RFC 4193: networks of one's own. Not loopback, not link-local. */
const PRIVATE = networkList([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.168.0.0/16',
  'fc00::/7',
])

/** Metadata services of clouds that stand in a private range: they hand out credentials of the host. */
const METADATA = networkList(['100.100.100.200/32', 'fd00:ec2::/32', 'fd20:ce::254/128'])

/** Whether an address is one of a private network. An IPv4 address written as IPv6 is none. */
export function isPrivateAddress(address: string): boolean {
  if (isIP(address) === 6 && !isWithin(UNIQUE_LOCAL, address)) return false
  return isWithin(PRIVATE, address) && !isWithin(METADATA, address)
}

export function isLoopbackAddress(address: string): boolean {
  return isWithin(LOOPBACK, address)
}

/**
 * Whether an address is on the public internet. IPv6 forms that carry an IPv4 address (mapped,
 * NAT64, 6to4, Teredo) are not: they would be a way around the IPv4 list.
 */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 4) return !isWithin(SPECIAL_IPV4, address)
  return isWithin(GLOBAL_IPV6, address) && !isWithin(SPECIAL_IPV6, address)
}
