// Real ids hold the numbers little-endian. Clients (and query engines that page by _rid) compare them as strings, so the
// item part here counts in base 62 with digits in ASCII order: still valid base64 of 16 bytes, and monotonic as text.
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const itemDigits = 9

const urlSafe = (bytes: Buffer): string => bytes.toString('base64').replaceAll('/', '-')

/** `_rid` of a database: 4 bytes. */
export const databaseRid = (database: number): string => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(database)
  return urlSafe(bytes)
}

const containerBytes = (database: number, container: number, length: number): Buffer => {
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32BE(database)
  bytes.writeUInt32BE((container | 0x80000000) >>> 0, 4)
  return bytes
}

/** `_rid` of a container: exactly 8 bytes, which is how the SDK tells it from other owners of a session token. */
export const containerRid = (database: number, container: number): string =>
  urlSafe(containerBytes(database, container, 8))

/** `_rid` of items of one container, by sequence number; later items sort after earlier ones. */
export const itemRids = (database: number, container: number): ((sequence: number) => string) => {
  const prefix = urlSafe(containerBytes(database, container, 9))
  return (sequence) => {
    let text = ''
    for (let rest = sequence, i = 0; i < itemDigits; i += 1) {
      text = digits.charAt(rest % digits.length) + text
      rest = Math.floor(rest / digits.length)
    }
    return `${prefix}${text}A==`
  }
}

/** An etag in the service's shape; unique per container because the log sequence number is. */
export const etagOf = (lsn: number, seconds: number): string => {
  const sequence = lsn.toString(16).padStart(12, '0')
  return `"${sequence.slice(-8)}-${sequence.slice(0, 4)}-0700-0000-${seconds.toString(16).padStart(8, '0')}0000"`
}
