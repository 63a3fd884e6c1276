import { describe, expect, it } from 'vitest'
import { clientAddress, networkOf } from '../src/client-address.ts'

const of = clientAddress(['10.0.0.0/24', '2001:db8:ff::/48'])
const PROXY = '10.0.0.1'

describe('threat: a forged X-Forwarded-For, a caller takes the address of another', () => {
  it.each([
    ['a caller that is no proxy', '203.0.113.7', ['198.51.100.9'], '203.0.113.7'],
    ['a neighbour of the proxies', '10.0.1.1', ['198.51.100.9'], '10.0.1.1'],
    ['a caller on loopback', '127.0.0.1', ['198.51.100.9'], '127.0.0.1'],
    ['a forged hop in front', PROXY, ['192.0.2.1, 198.51.100.9'], '198.51.100.9'],
    ['a forged proxy in front', PROXY, ['10.0.0.9, 198.51.100.9'], '198.51.100.9'],
    ['a forged header line in front', PROXY, ['192.0.2.1', '198.51.100.9'], '198.51.100.9'],
    ['a forged loopback', PROXY, ['127.0.0.1, 198.51.100.9'], '198.51.100.9'],
    ['a hop that is a name', PROXY, ['192.0.2.1, evil.example'], PROXY],
    ['a hop with a port', PROXY, ['198.51.100.9:1234'], PROXY],
    ['a hop in brackets', PROXY, ['[2001:db8::1]'], PROXY],
    ['a hop with a zone', PROXY, ['fe80::1%eth0'], PROXY],
    ['an empty hop', PROXY, ['192.0.2.1,'], PROXY],
    ['an empty header', PROXY, [''], PROXY],
    ['a decimal address', PROXY, ['3325256713'], PROXY],
    ['an octal address', PROXY, ['0306.063.0144.011'], PROXY],
    ['a hexadecimal address', PROXY, ['0xc6336409'], PROXY],
    ['a shortened address', PROXY, ['198.51.25609'], PROXY],
    ['null', PROXY, ['null'], PROXY],
    ['a property of all objects', PROXY, ['constructor'], PROXY],
    ['a broken hop behind a proxy', PROXY, ['192.0.2.1, unknown, 10.0.0.3'], '10.0.0.3'],
  ])('is not taken in by %s', (_name, peer, forwarded, address) => {
    expect(of(peer, forwarded)).toBe(address)
  })

  it.each([
    ['no header', [], PROXY],
    ['one hop', ['198.51.100.9'], '198.51.100.9'],
    ['two trusted proxies', ['198.51.100.9, 10.0.0.3'], '198.51.100.9'],
    ['proxies of both families', ['198.51.100.9,2001:db8:ff::1 ,10.0.0.3'], '198.51.100.9'],
    ['two header lines', ['198.51.100.9', '10.0.0.3'], '198.51.100.9'],
    ['proxies alone', ['10.0.0.3, 10.0.0.2'], '10.0.0.3'],
    ['an IPv6 client', ['2001:DB8:0::1'], '2001:db8::1'],
    ['a mapped address', ['::ffff:198.51.100.9'], '198.51.100.9'],
    ['a mapped address in hexadecimal', ['::FFFF:c633:6409'], '198.51.100.9'],
    ['a mapped address, written out', ['0:0:0:0:0:ffff:198.51.100.9'], '198.51.100.9'],
  ])('reads what a trusted proxy says: %s', (_name, forwarded, address) => {
    expect(of(PROXY, forwarded)).toBe(address)
    expect(of(`::ffff:${PROXY}`, forwarded)).toBe(address)
  })

  it.each([
    ['a mapped peer', '::ffff:203.0.113.7', '203.0.113.7'],
    ['an IPv6 peer', '2001:db8::a', '2001:db8::a'],
    ['a socket that is gone', undefined, ''],
  ])('reads no header without trusted proxies: %s', (_name, peer, address) => {
    expect(clientAddress([])(peer, ['198.51.100.9'])).toBe(address)
  })
})

describe('threat: many addresses of one customer, a limit is as many times as large', () => {
  it.each([
    ['an IPv4 address by itself', '192.0.2.1', '192.0.2.1'],
    ['an IPv6 address by its /64', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['one with zeros inside', '2001:db8::5:6', '2001:db8:0:0::/64'],
    ['one with zeros inside the network', '2001::4:5:6:7:8', '2001:0:0:4::/64'],
    ['one with zeros before the network', '::3:4:5:6:7:8', '0:0:3:4::/64'],
    ['one with zeros at the end', '2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['one with zeros before', '::1', '0:0:0:0::/64'],
    ['nothing but zeros', '::', '0:0:0:0::/64'],
    ['leading zeros', '2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
    ['an IPv4 address at its end', '64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['no address', '', ''],
  ])('counts %s', (_name, address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
