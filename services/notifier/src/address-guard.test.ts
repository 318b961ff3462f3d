import { expect, test } from 'vitest'
import { checkAddressLiteral, isPublicAddress, listedLookup } from './address-guard.ts'

test.each([
  '127.0.0.1',
  '0.0.0.0',
  '10.1.2.3',
  '100.64.0.1',
  '169.254.169.254',
  '168.63.129.16',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::ffff:127.0.0.1',
  '::ffff:a9fe:a9fe',
  '::127.0.0.1',
  '64:ff9b::a9fe:a9fe',
  '2002:7f00:1::',
  'fc00::1',
  'fd00:ec2::254',
  'fe80::1',
  'ff02::1',
  'not an address',
])('%s is not called', (address) => {
  expect(isPublicAddress(address)).toBe(false)
})

test.each(['1.1.1.1', '20.50.1.1', '172.32.0.1', '2606:4700::1111', '2a01:111::1'])('%s is called', (address) => {
  expect(isPublicAddress(address)).toBe(true)
})

test.each([
  'https://127.1/',
  'https://2130706433/',
  'https://0x7f000001/',
  'https://0177.0.0.1/',
  'https://[::ffff:127.0.0.1]/',
  'https://[::ffff:7f00:1]/',
  'https://169.254.169.254/metadata',
  'https://0/',
  'https://localhost/',
  'https://LOCALHOST./',
  'https://any.localhost/',
])('%s is refused however it is written', (url) => {
  expect(() => checkAddressLiteral(new URL(url))).toThrow(/not a public address/)
})

test('a public literal and a name pass the literal check', () => {
  expect(() => checkAddressLiteral(new URL('https://1.1.1.1/'))).not.toThrow()
  expect(() => checkAddressLiteral(new URL('https://example.com/'))).not.toThrow()
  expect(() => checkAddressLiteral(new URL('https://notlocalhost.com/'))).not.toThrow()
})

test('of listed hosts, what DNS does not know is known by the machine, and localhost is not asked for', async () => {
  const asked: string[] = []
  const unknown = {
    addressesOf: (hostname: string) => {
      asked.push(hostname)
      return Promise.reject(new Error('ENOTFOUND'))
    },
    cancel: () => undefined,
  }
  for (const hostname of ['localhost', 'LOCALHOST']) {
    const address = await new Promise((resolve) =>
      listedLookup(unknown)(hostname, { family: 4 }, (_, found) => resolve(found)),
    )
    expect(address).toBe('127.0.0.1')
  }
  expect(asked).toEqual([])
  const error = await new Promise((resolve) =>
    listedLookup(unknown)('name.invalid', { all: true }, (problem) => resolve(problem)),
  )
  expect(error).toMatchObject({ syscall: 'getaddrinfo' })
  expect(asked).toEqual(['name.invalid'])
})
