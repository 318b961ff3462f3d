import type { ResultEvent } from '@sluice/contracts'
import type { Blobs } from '@sluice/storage'

/** An answer up to this size travels inside the event although it is stored in Blob; a larger one as a link. */
const inlineBytes = 192 * 1024
/** Azure's advice for shared access signatures is minutes to hours; a receiver that queues has an hour. */
const linkTtlMs = 60 * 60 * 1000

/**
 * The event as a receiver can use it: a body kept in Blob is put back when it is small enough, else its claim check
 * gets a read-only link beside the digest.
 */
export async function presentable(event: ResultEvent, blobs: Blobs, signal: AbortSignal): Promise<ResultEvent> {
  const { response } = event.data
  const ref = response?.body_ref
  if (response === null || ref === undefined) return event
  if (ref.bytes > inlineBytes) {
    const url = await blobs.readUrl(event.data.sluice.tenant, ref, linkTtlMs)
    return { ...event, data: { ...event.data, response: { ...response, body_ref: { ...ref, url } } } }
  }
  const bytes = await blobs.get(event.data.sluice.tenant, ref, { maxBytes: inlineBytes, signal })
  const { body_ref: _, ...rest } = response
  return {
    ...event,
    data: { ...event.data, response: { ...rest, body: JSON.parse(bytes.toString('utf8')) as unknown } },
  }
}
