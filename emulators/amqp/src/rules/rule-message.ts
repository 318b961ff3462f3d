/** The settable system properties of a message, under the names that the Service Bus SDKs use. */
export type MessageProperties = {
  messageId?: string | number | bigint | undefined
  correlationId?: string | number | bigint | undefined
  subject?: string | undefined
  to?: string | undefined
  replyTo?: string | undefined
  sessionId?: string | undefined
  replyToSessionId?: string | undefined
  contentType?: string | undefined
}

/**
 * What a rule sees of a message. Filters only read it; actions change `properties` and `applicationProperties` in place, so the
 * caller hands them the subscription's own copy.
 */
export type RuleMessage = {
  properties: MessageProperties
  /** AMQP simple values: number, bigint (long and ulong beyond 2^53), string, boolean, Date, null. Anything else only exists. */
  applicationProperties: Record<string, unknown>
  system: { sequenceNumber: number | bigint; enqueuedTime: Date }
}

export type SystemProperty = {
  read: (message: RuleMessage) => unknown
  /** Absent for what the broker itself assigns. */
  property?: keyof MessageProperties
}

const settable = (property: keyof MessageProperties): SystemProperty => ({
  read: (message) => message.properties[property],
  property,
})

/**
 * The system properties by lower-cased name. `Label` and the UTC suffix are the names of the older SDKs, `Subject` and the plain
 * form those of the current ones; the service takes both.
 */
export const systemProperties: ReadonlyMap<string, SystemProperty> = new Map([
  ['messageid', settable('messageId')],
  ['correlationid', settable('correlationId')],
  ['label', settable('subject')],
  ['subject', settable('subject')],
  ['to', settable('to')],
  ['replyto', settable('replyTo')],
  ['sessionid', settable('sessionId')],
  ['replytosessionid', settable('replyToSessionId')],
  ['contenttype', settable('contentType')],
  ['sequencenumber', { read: (message) => message.system.sequenceNumber }],
  ['enqueuedtime', { read: (message) => message.system.enqueuedTime }],
  ['enqueuedtimeutc', { read: (message) => message.system.enqueuedTime }],
])

export const systemPropertyNames =
  'MessageId, CorrelationId, Subject (Label), To, ReplyTo, SessionId, ReplyToSessionId, ContentType, SequenceNumber, EnqueuedTime (EnqueuedTimeUtc)'

/** The stored spelling of a user property (names are case-insensitive), or undefined when the message does not carry it. */
export function findUserProperty(
  properties: Record<string, unknown>,
  name: string,
  lowered: string,
): string | undefined {
  if (Object.hasOwn(properties, name)) return name
  for (const key in properties) {
    if (key.length === name.length && key.toLowerCase() === lowered && Object.hasOwn(properties, key)) return key
  }
  return undefined
}
