import type { BodyRef, EventEnvelope } from '@sluice/contracts'
import type { Blobs } from '@sluice/storage'

/** An answer up to this size travels inside the event although it is stored in Blob; a larger one as a link. */
const inlineBytes = 192 * 1024
/** Azure's advice for shared access signatures is minutes to hours; a receiver that queues has an hour. */
const linkTtlMs = 60 * 60 * 1000

/** Below it a folder a day, by the event's time, so that the names are in the order of their ages. */
export const eventsFolder = 'events'

interface WithAnswer {
  response?: { body_ref?: BodyRef; body?: unknown } | null
}

/**
 * The event as a receiver can use it: a JSON body kept in Blob is put back when it is small enough. A larger one, and
 * what is no JSON, such as sound, stays a claim check that gets a read-only link beside the digest.
 */
export async function presentable(
  tenant: string,
  event: EventEnvelope,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<EventEnvelope> {
  const { response } = event.data as WithAnswer
  const ref = response?.body_ref
  if (response === null || response === undefined || ref === undefined) return event
  const withResponse = (changed: object): EventEnvelope => ({ ...event, data: { ...event.data, response: changed } })
  if (ref.bytes > inlineBytes || ref.content_type !== 'application/json') {
    return withResponse({ ...response, body_ref: { ...ref, url: await blobs.readUrl(tenant, ref, linkTtlMs) } })
  }
  const bytes = await blobs.get(tenant, ref, { maxBytes: inlineBytes, signal })
  const { body_ref: _, ...rest } = response
  return withResponse({ ...rest, body: JSON.parse(bytes.toString('utf8')) as unknown })
}

/**
 * The event as a claim check, for a sink that takes less than it has: `data` becomes the subject's id and status and a
 * link to the whole event, which is stored under its id.
 */
export async function claimCheck(
  tenant: string,
  event: EventEnvelope,
  blobs: Blobs,
  signal: AbortSignal,
): Promise<EventEnvelope> {
  const bytes = Buffer.from(JSON.stringify(event))
  const path = `${eventsFolder}/${event.time.slice(0, 10)}/${event.id}.json`
  const ref = await blobs.put(tenant, path, bytes, 'application/cloudevents+json', signal)
  const url = await blobs.readUrl(tenant, ref, linkTtlMs)
  const { id, custom_id } = event.data as { id?: unknown; custom_id?: unknown }
  return { ...event, data: { id, custom_id, event_ref: { ...ref, url } } }
}
