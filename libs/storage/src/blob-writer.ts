import type { BlockBlobClient } from '@azure/storage-blob'

/** A blob that is written piece by piece. It appears, or replaces what was there, when it is closed, and not before. */
export interface BlobWriter {
  /** Resolves at once while a block is being filled, and when the block is stored otherwise. One write at a time. */
  write(chunk: Uint8Array | string): Promise<void>
  /** @returns the blob's length in bytes */
  close(): Promise<number>
}

const blockBytes = 1024 * 1024

/**
 * Blocks of 1 MiB, of which a blob has up to 50,000. One block's memory is filled and sent over and over, so that a large
 * blob leaves no buffers behind for the garbage collector. What a crash leaves uncommitted, the service drops after a
 * week. https://learn.microsoft.com/rest/api/storageservices/put-block
 * @param bounded gives each call its deadline and translates its errors
 */
export function blobWriter(
  blob: BlockBlobClient,
  contentType: string,
  bounded: <T>(fn: (signal: AbortSignal) => Promise<T>) => Promise<T>,
): BlobWriter {
  const ids: string[] = []
  let block: Buffer | undefined
  let held = 0
  let total = 0

  const flush = async (filled: Buffer): Promise<void> => {
    const bytes = filled.subarray(0, held)
    held = 0
    // Ids of one blob must have one length.
    const id = Buffer.from(String(ids.length).padStart(8, '0')).toString('base64')
    ids.push(id)
    await bounded((abortSignal) => blob.stageBlock(id, bytes, bytes.byteLength, { abortSignal }))
  }

  return {
    async write(chunk) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
      total += bytes.byteLength
      for (let from = 0; from < bytes.byteLength;) {
        block ??= Buffer.allocUnsafeSlow(blockBytes)
        const fitting = bytes.subarray(from, from + blockBytes - held)
        block.set(fitting, held)
        held += fitting.byteLength
        from += fitting.byteLength
        if (held === blockBytes) await flush(block)
      }
    },
    async close() {
      if (block !== undefined && held > 0) await flush(block)
      block = undefined
      const blobHTTPHeaders = { blobContentType: contentType }
      await bounded((abortSignal) => blob.commitBlockList(ids, { blobHTTPHeaders, abortSignal }))
      return total
    },
  }
}
