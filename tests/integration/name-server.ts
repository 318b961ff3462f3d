import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'

type Question = 'A' | 'AAAA'
/** Addresses and, before them, an alias of the name that they belong to; nothing means that there is no such name. */
export type Zone = (name: string, question: Question) => { alias?: string; addresses: string[] } | 'silence' | undefined

const types: Record<number, Question> = { 1: 'A', 28: 'AAAA' }

/** A DNS server on a UDP port of its own (RFC 1035), that answers by what `zone` says at the time. */
export async function startNameServer(zone: Zone) {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, { port, address }) => {
    const { name, end } = readName(query, 12)
    const question = types[query.readUInt16BE(end)]
    asked.push(`${name} ${question ?? 'other'}`)
    const found = question === undefined ? { addresses: [] } : zone(name, question)
    if (found === 'silence') return
    const owner = found?.alias ?? name
    const family = (found?.addresses ?? []).filter((one) => isIPv6(one) === (question === 'AAAA'))
    const records = [
      ...(found?.alias === undefined ? [] : [record(name, 5, nameBytes(found.alias))]),
      ...family.map((one) => (question === 'A' ? record(owner, 1, ipv4(one)) : record(owner, 28, ipv6(one)))),
    ]
    const header = Buffer.alloc(12)
    query.copy(header, 0, 0, 2)
    // A recursive server's answer; code 3 says that there is no such name.
    header.writeUInt16BE(0x8180 | (found === undefined ? 3 : 0), 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    socket.send(Buffer.concat([header, query.subarray(12, end + 4), ...records]), port, address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${socket.address().port}`,
    /** `<name> <type>` of every question. */
    asked,
    close: () => new Promise<void>((resolve) => socket.close(() => resolve())),
  }
}

function readName(message: Buffer, at: number): { name: string; end: number } {
  const labels: string[] = []
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 }
}

function nameBytes(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  return Buffer.concat([...labels, Buffer.from([0])])
}

function record(owner: string, type: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10)
  fixed.writeUInt16BE(type, 0)
  fixed.writeUInt16BE(1, 2)
  // A long life: whoever kept answers would be caught.
  fixed.writeUInt32BE(3600, 4)
  fixed.writeUInt16BE(data.length, 8)
  return Buffer.concat([nameBytes(owner), fixed, data])
}

const ipv4 = (address: string) => Buffer.from(address.split('.').map(Number))

function ipv6(address: string): Buffer {
  // URL writes an embedded IPv4 address in hex; the rest is groups around one gap.
  const [front = '', back = ''] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)))
  const [head, tail] = [groups(front), groups(back)]
  const gap = Array.from({ length: 8 - head.length - tail.length }, () => 0)
  const all = [...head, ...gap, ...tail]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]))
}
