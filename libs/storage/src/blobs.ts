import { createHash } from 'node:crypto'
import { type BlobClient, BlobServiceClient, type StoragePipelineOptions } from '@azure/storage-blob'
import type { BodyRef } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { withDeadline } from '@sluice/resilience'
import { azureCredential } from './azure-credential.ts'
import { translateBlob } from './blob-error.ts'
import { checkBlobName } from './blob-name.ts'
import { type BlobWriter, blobWriter } from './blob-writer.ts'
import { signWithAccountKey, userDelegationSigner } from './blob-url.ts'

export type BlobsOptions = ({ connectionString: string } | { accountUrl: string }) & {
  container: string
  /** For one operation, the SDK's retries included. */
  deadlineMs?: number
}

/** Claim checks: bodies that are too large for a message or a row, under one prefix a tenant. */
export interface Blobs {
  /** Stores bytes as `<tenant>/<path>`, over whatever was there. */
  put(tenant: string, path: string, bytes: Uint8Array, contentType: string, signal?: AbortSignal): Promise<BodyRef>
  /**
   * The bytes of a claim check, verified against its length and hash.
   * @throws AppError `body_ref_not_found` (missing, or not the tenant's), `body_ref_mismatch`, `message_too_large`,
   * `storage_unavailable`.
   */
  get(tenant: string, ref: BodyRef, options?: { maxBytes?: number; signal?: AbortSignal }): Promise<Buffer>
  /**
   * A blob of the tenant's as a stream, for files of any size, from a byte on. The signal ends it; the deadline holds
   * until it begins.
   * @throws AppError `body_ref_not_found`, `storage_unavailable`.
   */
  open(tenant: string, name: string, signal?: AbortSignal, from?: number): Promise<AsyncIterable<Uint8Array>>
  /**
   * A claim check's bytes as a stream, for what is passed on and never held. Its end is an error unless length and hash
   * are right, so whoever passes it on must not complete before it does.
   * @throws AppError as `get` does; `body_ref_mismatch` and `storage_unavailable` also while it is read.
   */
  pipe(tenant: string, ref: BodyRef, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>
  /** Begins to write a blob of any size as `<tenant>/<path>`; see {@link BlobWriter}. @throws AppError as `put` does */
  writer(tenant: string, path: string, contentType: string, signal?: AbortSignal): BlobWriter
  /** Deletes a blob of the tenant's; one that is not there is fine. */
  remove(tenant: string, name: string): Promise<void>
  /** Names of up to `limit` (5,000 at most) of the tenant's blobs below `path`, in the order of their names. */
  list(tenant: string, path: string, limit: number): Promise<string[]>
  /** A URL that reads this one blob for `ttlMs` milliseconds without further credentials. */
  readUrl(tenant: string, ref: BodyRef, ttlMs: number): Promise<string>
  /** Creates the container if it is missing. */
  provision(): Promise<void>
  /** Resolves when the container answers; for readiness. */
  ping(): Promise<void>
}

/** What a body may have at most, unless the caller says otherwise: a long context with pictures fits. */
const defaultMaxBytes = 64 * 1024 * 1024

export function connectBlobs({ container: name, deadlineMs = 30_000, ...account }: BlobsOptions): Blobs {
  const options: StoragePipelineOptions = {
    retryOptions: { maxTries: 3, retryDelayInMs: 100, maxRetryDelayInMs: 2_000, tryTimeoutInMs: deadlineMs },
  }
  const service =
    'connectionString' in account
      ? BlobServiceClient.fromConnectionString(account.connectionString, options)
      : new BlobServiceClient(account.accountUrl, azureCredential(), options)
  const container = service.getContainerClient(name)
  const sign = 'connectionString' in account ? signWithAccountKey : userDelegationSigner(service)

  const bounded = <T>(signal: AbortSignal | undefined, fn: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    withDeadline(
      deadlineMs,
      signal,
      fn,
      () => new AppError('storage_unavailable', `Blob Storage took over ${deadlineMs} ms.`),
    ).catch((thrown: unknown) => {
      signal?.throwIfAborted()
      throw translateBlob(thrown)
    })

  const open: Blobs['open'] = async (tenant, name, signal, from = 0) => {
    checkBlobName(tenant, name)
    // The bound's own signal ends with the call; the stream outlives it and follows the caller's.
    const { readableStreamBody } = await bounded(signal, () =>
      container.getBlobClient(name).download(from, undefined, {
        ...(signal === undefined ? {} : { abortSignal: signal }),
        maxRetryRequests: 5,
      }),
    )
    if (readableStreamBody === undefined) throw new AppError('internal', 'Blob Storage answered without a stream.')
    return readableStreamBody as unknown as AsyncIterable<Uint8Array>
  }

  return {
    open,
    async put(tenant, path, bytes, contentType, signal) {
      const blob = `${tenant}/${path}`
      checkBlobName(tenant, blob)
      await bounded(signal, (abortSignal) =>
        container
          .getBlockBlobClient(blob)
          .upload(bytes, bytes.byteLength, { blobHTTPHeaders: { blobContentType: contentType }, abortSignal }),
      )
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      return { blob, sha256, bytes: bytes.byteLength, content_type: contentType }
    },
    async get(tenant, ref, { maxBytes = defaultMaxBytes, signal } = {}) {
      checkBlobName(tenant, ref.blob)
      if (ref.bytes > maxBytes) {
        throw new AppError('message_too_large', `body_ref.bytes: up to ${maxBytes} bytes are read`, {
          param: 'body_ref.bytes',
        })
      }
      const bytes = await bounded(signal, (abortSignal) => read(container.getBlobClient(ref.blob), ref, abortSignal))
      if (createHash('sha256').update(bytes).digest('hex') !== ref.sha256) {
        throw new AppError('body_ref_mismatch', 'body_ref.sha256: the blob has another hash', {
          param: 'body_ref.sha256',
        })
      }
      return bytes
    },
    pipe: async (tenant, ref, signal) => verified(await open(tenant, ref.blob, signal), ref, signal),
    writer(tenant, path, contentType, signal) {
      const name = `${tenant}/${path}`
      checkBlobName(tenant, name)
      return blobWriter(container.getBlockBlobClient(name), contentType, (fn) => bounded(signal, fn))
    },
    async remove(tenant, name) {
      checkBlobName(tenant, name)
      await bounded(undefined, (abortSignal) => container.getBlobClient(name).deleteIfExists({ abortSignal }))
    },
    async list(tenant, path, limit) {
      const prefix = `${tenant}/${path}/`
      checkBlobName(tenant, `${prefix}x`)
      return bounded(undefined, async (abortSignal) => {
        const pages = container.listBlobsFlat({ prefix, abortSignal }).byPage({ maxPageSize: limit })
        const first = await pages.next()
        return first.done === true ? [] : first.value.segment.blobItems.map(({ name }) => name)
      })
    },
    async readUrl(tenant, ref, ttlMs) {
      checkBlobName(tenant, ref.blob)
      return bounded(undefined, () => sign(container.getBlobClient(ref.blob), ttlMs))
    },
    provision: async () => {
      await bounded(undefined, (abortSignal) => container.createIfNotExists({ abortSignal }))
    },
    ping: async () => {
      await bounded(undefined, (abortSignal) => container.getProperties({ abortSignal }))
    },
  }
}

async function* verified(
  stream: AsyncIterable<Uint8Array>,
  ref: BodyRef,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of stream) {
      bytes += chunk.byteLength
      if (bytes > ref.bytes) break
      hash.update(chunk)
      yield chunk
    }
  } catch (thrown) {
    signal?.throwIfAborted()
    throw translateBlob(thrown)
  }
  if (bytes === ref.bytes && hash.digest('hex') === ref.sha256) return
  throw new AppError('body_ref_mismatch', 'file_ref: the blob has another length or hash', { param: 'file_ref' })
}

/** Reads a blob of exactly the length that its claim check states; a longer one is never buffered. */
async function read(blob: BlobClient, ref: BodyRef, abortSignal: AbortSignal): Promise<Buffer> {
  const { contentLength, readableStreamBody } = await blob.download(0, undefined, { abortSignal, maxRetryRequests: 2 })
  if (readableStreamBody === undefined) throw new AppError('internal', 'Blob Storage answered without a stream.')
  if (contentLength !== ref.bytes) {
    // An unread body would hold its connection until the far end gives up.
    if ('destroy' in readableStreamBody) (readableStreamBody as { destroy(): void }).destroy()
    throw new AppError('body_ref_mismatch', `body_ref.bytes: the blob has ${contentLength} bytes`, {
      param: 'body_ref.bytes',
    })
  }
  const chunks: Buffer[] = []
  for await (const chunk of readableStreamBody) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
