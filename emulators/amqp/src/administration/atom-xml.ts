import { formatDuration } from '../config/duration.ts'
import type { MessageQueue } from '../service-bus/message-queue.ts'
import type { Topic } from '../service-bus/topic.ts'

const connectNamespace = 'http://schemas.microsoft.com/netservices/2010/10/servicebus/connect'
const instanceNamespace = 'http://www.w3.org/2001/XMLSchema-instance'
const countsNamespace = 'http://schemas.microsoft.com/netservices/2011/06/servicebus'
const megabyte = 1024 * 1024
const largestMegabytes = 1024

/** One resource of the administration API: its title, the path in its id, and the XML of its description. */
export type AtomEntry = { title: string; path: string; content: string }

export const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

export const elements = (values: Record<string, string | number | boolean | undefined>): string =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `<${name}>${escapeXml(String(value))}</${name}>`)
    .join('')

export const description = (name: string, content: string): string =>
  `<${name} xmlns="${connectNamespace}" xmlns:i="${instanceNamespace}">${content}</${name}>`

const counts = (queue: MessageQueue): string => {
  const { contents, deadLetters } = queue
  const scheduled = contents.count('scheduled')
  const values = {
    'd2p1:ActiveMessageCount': contents.size - scheduled,
    'd2p1:DeadLetterMessageCount': deadLetters?.contents.size ?? 0,
    'd2p1:ScheduledMessageCount': scheduled,
    'd2p1:TransferMessageCount': 0,
    'd2p1:TransferDeadLetterMessageCount': 0,
  }
  return `<CountDetails xmlns:d2p1="${countsNamespace}">${elements(values)}</CountDetails>`
}

const total = ({ contents, deadLetters }: MessageQueue): number => contents.size + (deadLetters?.contents.size ?? 0)

const times = (queue: MessageQueue): string =>
  elements({
    CreatedAt: new Date(queue.openedAtMs).toISOString(),
    UpdatedAt: new Date(queue.openedAtMs).toISOString(),
    AccessedAt: new Date(queue.accessedAtMs).toISOString(),
  })

const settings = ({ properties }: MessageQueue): Record<string, string | number | boolean | undefined> => ({
  LockDuration: formatDuration(properties.lockDurationMs),
  MaxDeliveryCount: properties.maxDeliveryCount,
  RequiresSession: properties.requiresSession,
  DefaultMessageTimeToLive: formatDuration(properties.defaultTtlMs),
  DeadLetteringOnMessageExpiration: properties.deadLetterOnExpiration,
  EnableBatchedOperations: true,
  AutoDeleteOnIdle: formatDuration(Infinity),
  Status: properties.status,
  EntityAvailabilityStatus: 'Available',
  ForwardTo: properties.forwardTo,
  ForwardDeadLetteredMessagesTo: properties.forwardDeadLetteredTo,
})

const duplicates = ({ properties }: MessageQueue): Record<string, string | boolean> => ({
  RequiresDuplicateDetection: properties.requiresDuplicateDetection,
  DuplicateDetectionHistoryTimeWindow: formatDuration(properties.duplicateWindowMs),
})

const size = ({ contents, properties }: MessageQueue): Record<string, number | boolean> => ({
  MaxSizeInMegabytes: Math.min(properties.maxSizeBytes / megabyte, Number.MAX_SAFE_INTEGER) || largestMegabytes,
  SizeInBytes: contents.bytes,
  EnablePartitioning: false,
  EnableExpress: false,
})

export const queueEntry = (queue: MessageQueue): AtomEntry => ({
  title: queue.path,
  path: queue.path,
  content: description(
    'QueueDescription',
    elements({ ...settings(queue), ...duplicates(queue), ...size(queue), MessageCount: total(queue) }) +
      times(queue) +
      counts(queue),
  ),
})

export const topicEntry = ({ path, entry, subscriptions }: Topic): AtomEntry => ({
  title: path,
  path,
  content: description(
    'TopicDescription',
    elements({
      ...settings(entry),
      ...duplicates(entry),
      ...size(entry),
      SupportOrdering: true,
      SubscriptionCount: subscriptions.size,
    }) +
      times(entry) +
      counts(entry),
  ),
})

export const subscriptionEntry = (name: string, queue: MessageQueue): AtomEntry => ({
  title: name,
  path: queue.path,
  content: description(
    'SubscriptionDescription',
    elements({ ...settings(queue), DeadLetteringOnFilterEvaluationExceptions: true, MessageCount: total(queue) }) +
      times(queue) +
      counts(queue),
  ),
})

export const namespaceEntry = (name: string, openedAtMs: number): AtomEntry => ({
  title: name,
  path: '$namespaceinfo',
  content: description(
    'NamespaceInfo',
    elements({
      CreatedTime: new Date(openedAtMs).toISOString(),
      MessagingSKU: 'Standard',
      ModifiedTime: new Date(openedAtMs).toISOString(),
      Name: name,
      NamespaceType: 'Messaging',
    }),
  ),
})

const entryXml = (base: string, { title, path, content }: AtomEntry, attributes = ''): string =>
  `<entry${attributes}><id>${escapeXml(`${base}/${path}`)}</id><title type="text">${escapeXml(title)}</title><content type="application/xml">${content}</content></entry>`

export const atomEntry = (base: string, entry: AtomEntry): string =>
  entryXml(base, entry, ' xmlns="http://www.w3.org/2005/Atom"')

/** @param next the address of the following page, when there is one */
export const atomFeed = (base: string, title: string, entries: AtomEntry[], next: string | undefined): string => {
  const links = [
    `<link rel="self" href="${escapeXml(`${base}/${title}`)}"/>`,
    next === undefined ? '' : `<link rel="next" href="${escapeXml(next)}"/>`,
  ]
  const content = entries.map((entry) => entryXml(base, entry)).join('')
  return `<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">${escapeXml(title)}</title>${links.join('')}${content}</feed>`
}

export const atomError = (status: number, detail: string): string =>
  `<Error><Code>${status}</Code><Detail>${escapeXml(detail)}</Detail></Error>`
