import { isEqual } from './operators.ts'
import type { MessageProperties, RuleMessage } from './rule-message.ts'
import { findUserProperty } from './rule-message.ts'

/** The conditions of a correlation filter; undefined ones do not take part. */
export type CorrelationFilter = MessageProperties & {
  applicationProperties?: Readonly<Record<string, unknown>> | undefined
}

const systemKeys: readonly (keyof MessageProperties)[] = [
  'correlationId',
  'messageId',
  'subject',
  'to',
  'replyTo',
  'sessionId',
  'replyToSessionId',
  'contentType',
]

/**
 * Compiles a correlation filter: every condition must hold, strings are equal case-sensitively, property names ignore case, and
 * nothing converts ('2' never equals 2). A filter without conditions matches everything.
 * https://learn.microsoft.com/azure/service-bus-messaging/topic-filters#correlation-filters
 */
export function compileCorrelationFilter(filter: CorrelationFilter): (m: RuleMessage) => boolean {
  const wanted = systemKeys.flatMap((key) => (filter[key] === undefined ? [] : [{ key, value: filter[key] }]))
  const wantedUser = Object.entries(filter.applicationProperties ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, lowered: name.toLowerCase(), value }],
  )
  return ({ properties, applicationProperties }) => {
    for (const { key, value } of wanted) if (isEqual(properties[key], value) !== true) return false
    for (const { name, lowered, value } of wantedUser) {
      const key = findUserProperty(applicationProperties, name, lowered)
      if (key === undefined) return false
      const actual = applicationProperties[key]
      if (actual !== value && isEqual(actual, value) !== true) return false
    }
    return true
  }
}
