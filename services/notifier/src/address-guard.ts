import { lookup as systemLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { AppError } from '@sluice/errors'

// IANA's special-purpose registries: whatever is not a public unicast address. IPv4-mapped IPv6 addresses are checked
// against the IPv4 rules by BlockList itself; the other ways to embed an IPv4 address in an IPv6 one are blocked whole.
const notPublic = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const) {
  notPublic.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  ['::', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const) {
  notPublic.addSubnet(network, prefix, 'ipv6')
}
// Azure's platform address answers from inside every virtual network although it is a public one.
notPublic.addAddress('168.63.129.16', 'ipv4')

/** Whether an address may be called on behalf of a tenant. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && !notPublic.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

const refused = (host: string) => new AppError('delivery_refused', `${host} is not a public address`, { param: 'url' })

/**
 * @throws AppError `delivery_refused` for an address literal that is not public. A connection to a literal asks no
 * resolver, so {@link guardedLookup} never sees it. URL has already turned decimal, octal and hex forms into dots.
 */
export function checkAddressLiteral(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !isPublicAddress(host)) throw refused(host)
}

/**
 * A resolver for sockets that fails when any of the host's addresses is not public. The check sits where the
 * connection is made, so a name that changes its address between check and use gains nothing.
 */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  systemLookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, [])
    const bad = addresses.some(({ address }) => !isPublicAddress(address))
    if (bad || addresses.length === 0) return callback(refused(hostname), [])
    const [first] = addresses
    if (options.all === true || first === undefined) return callback(null, addresses)
    return callback(null, first.address, first.family)
  })
}
