/** Distinguished Encoding Rules (X.690), as much of them as a certificate needs. */

const encode = (tag: number, content: Buffer): Buffer => {
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content])
  const length = Buffer.from(content.length.toString(16).padStart(content.length > 0xff ? 4 : 2, '0'), 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length]), length, content])
}

export const sequence = (...items: Buffer[]): Buffer => encode(0x30, Buffer.concat(items))

export const set = (...items: Buffer[]): Buffer => encode(0x31, Buffer.concat(items))

/** A positive integer from its big-endian bytes. */
export const integer = (bytes: Buffer): Buffer =>
  encode(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes)

export const truth = encode(0x01, Buffer.from([0xff]))

export const utf8String = (text: string): Buffer => encode(0x0c, Buffer.from(text, 'utf8'))

export const octetString = (bytes: Buffer): Buffer => encode(0x04, bytes)

export const bitString = (bytes: Buffer): Buffer => encode(0x03, Buffer.concat([Buffer.from([0]), bytes]))

/** A value under a context-specific tag: constructed when it holds other values, primitive otherwise. */
export const tagged = (number: number, content: Buffer, constructed: boolean): Buffer =>
  encode((constructed ? 0xa0 : 0x80) | number, content)

/** GeneralizedTime, in whole seconds. */
export const time = (date: Date): Buffer =>
  encode(0x18, Buffer.from(`${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`))

/** An object identifier in dotted form. */
export const objectIdentifier = (dotted: string): Buffer => {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const groups = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return encode(0x06, Buffer.from(bytes))
}
