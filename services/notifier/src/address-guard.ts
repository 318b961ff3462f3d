import type { LookupAddress } from 'node:dns'
import { lookup as systemLookup } from 'node:dns/promises'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { AppError } from '@sluice/errors'
import type { HostResolver } from './host-resolver.ts'

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

/** As good as a literal, whatever a name server says (RFC 6761, 6.3). */
const isLocalhost = (host: string): boolean => /(^|\.)localhost\.?$/i.test(host)

/**
 * @throws AppError `delivery_refused` for an address literal that is not public. A connection to a literal asks no
 * resolver, so {@link guardedLookup} never sees it. URL has already turned decimal, octal and hex forms into dots.
 */
export function checkAddressLiteral(url: URL): void {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isLocalhost(host) || (isIP(host) !== 0 && !isPublicAddress(host))) throw refused(host)
}

/**
 * A resolver for sockets that fails when any of the host's addresses is not public. The check sits where the
 * connection is made, so a name that changes its address between check and use gains nothing.
 */
export const guardedLookup = (resolver: HostResolver): LookupFunction =>
  lookupBy(async (hostname) => {
    const addresses = await resolver.addressesOf(hostname)
    if (!addresses.every(({ address }) => isPublicAddress(address))) throw refused(hostname)
    return addresses
  })

/**
 * A resolver for sockets to hosts that the operator has listed: DNS, and for names that it does not know whatever the
 * machine knows, such as /etc/hosts and search domains. The machine is asked last because it holds a thread meanwhile.
 */
export const listedLookup = (resolver: HostResolver): LookupFunction =>
  lookupBy(async (hostname) => {
    if (!isLocalhost(hostname)) {
      const addresses = await resolver.addressesOf(hostname).catch(() => [])
      if (addresses.length > 0) return addresses
    }
    return systemLookup(hostname, { all: true })
  })

const lookupBy =
  (addressesOf: (hostname: string) => Promise<LookupAddress[]>): LookupFunction =>
  (hostname, { all, family }, callback) => {
    const wanted = family === 4 || family === 'IPv4' ? 4 : family === 6 || family === 'IPv6' ? 6 : 0
    const answer = async () => {
      const found = await addressesOf(hostname).catch((error: Error) => error)
      if (found instanceof Error) return callback(found, [])
      const usable = found.filter((one) => wanted === 0 || one.family === wanted)
      const [first] = usable
      if (first === undefined) return callback(new Error(`${hostname} has no address of that family`), [])
      return all === true ? callback(null, usable) : callback(null, first.address, first.family)
    }
    void answer()
  }
