// A lock token is a uuid: a constant first half and the lock's number as the second. On a link it travels as the delivery
// tag in .NET's byte order (first three groups reversed), on $management as an AMQP uuid in RFC 4122 order.
const firstHalf = Buffer.from('5b1ce0000000a000', 'hex')
const locksPerRun = 2 ** 40

/** The first lock number of the n-th run over one data directory, so that tokens of earlier runs are never given again. */
export const firstLockId = (run: number): number => (run % 4096) * locksPerRun + 1

const reordered = (token: Buffer): Buffer =>
  Buffer.from([
    token[3] ?? 0,
    token[2] ?? 0,
    token[1] ?? 0,
    token[0] ?? 0,
    token[5] ?? 0,
    token[4] ?? 0,
    token[7] ?? 0,
    token[6] ?? 0,
    ...token.subarray(8, 16),
  ])

const tagHalf = reordered(Buffer.concat([firstHalf, Buffer.alloc(8)])).subarray(0, 8)

const withFirstHalf = (half: Buffer, lockId: number): Buffer => {
  const token = Buffer.allocUnsafe(16)
  half.copy(token)
  token.writeUInt32BE(Math.floor(lockId / 0x100000000), 8)
  token.writeUInt32BE(lockId % 0x100000000, 12)
  return token
}

/** The delivery tag for a lock. */
export const deliveryTag = (lockId: number): Buffer => withFirstHalf(tagHalf, lockId)

/** The lock token's 16 bytes in RFC order, as $management carries it. */
export const lockToken = (lockId: number): Buffer => withFirstHalf(firstHalf, lockId)

/** The lock a token names; undefined when it is not one of ours. */
export const lockIdOf = (token: Buffer): number | undefined => {
  if (token.length !== 16 || firstHalf.compare(token, 0, 8) !== 0) return undefined
  const lockId = token.readUInt32BE(8) * 0x100000000 + token.readUInt32BE(12)
  return Number.isSafeInteger(lockId) ? lockId : undefined
}
