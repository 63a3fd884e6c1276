import { describe, expect, it } from 'vitest'
import { isCidr, isWithin, networkList } from '../src/networks.ts'

describe('contract: networks', () => {
  it.each(['10.0.0.0/8', '0.0.0.0/0', '192.0.2.1/32', '::/0', '2001:db8::/32', '::1/128'])(
    'takes %s for a network',
    (text) => {
      expect(isCidr(text)).toBe(true)
    },
  )

  it.each([
    '',
    '/',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/8 ',
    ' 10.0.0.0/8',
    '10.0.0/8',
    '010.0.0.0/8',
    '256.0.0.0/8',
    '10.0.0.0/255.0.0.0',
    '2001:db8::/129',
    'fe80::1%eth0/64',
    '::ffff:10.0.0.0/104',
    'localhost/8',
    '*',
    '10.0.0.0/8\n',
  ])('does not take %j for a network', (text) => {
    expect(isCidr(text)).toBe(false)
  })

  it.each([
    ['10.1.2.3', true],
    ['::ffff:10.1.2.3', true],
    ['::ffff:a01:203', true],
    ['2001:db8:1::1', true],
    ['2001:DB8:1::1', true],
    ['11.1.2.3', false],
    ['::ffff:11.1.2.3', false],
    ['2001:db9::1', false],
    ['::a01:203', false],
    ['', false],
    ['10.1.2', false],
    ['10.1.2.3 ', false],
    ['constructor', false],
  ])('finds %j inside: %s', (address, inside) => {
    const list = networkList(['10.0.0.0/8', '2001:db8::/32'])
    expect(isWithin(list, address)).toBe(inside)
  })
})
