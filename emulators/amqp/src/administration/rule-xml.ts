import type { CorrelationFilter } from '../rules/index.ts'
import type { RuleDefinition, RuleFilter } from '../service-bus/rule-set.ts'
import type { Subscription } from '../service-bus/topic.ts'
import { description, elements, escapeXml, type AtomEntry } from './atom-xml.ts'

const schemaNamespace = 'http://www.w3.org/2001/XMLSchema'
const compatibilityLevel = 20

/** A rule of a subscription as the administration API describes it. */
export const ruleEntry = ({ queue }: Subscription, { name, filter, action }: RuleDefinition): AtomEntry => ({
  title: name,
  path: `${queue.path}/Rules/${name}`,
  content: description('RuleDescription', filterXml(filter) + actionXml(action) + elements({ Name: name })),
})

const filterXml = (filter: RuleFilter): string => {
  if ('sql' in filter) return typed('Filter', 'SqlFilter', sqlXml(filter.sql))
  if ('always' in filter)
    return typed('Filter', filter.always ? 'TrueFilter' : 'FalseFilter', sqlXml(filter.always ? '1=1' : '1=0'))
  return typed('Filter', 'CorrelationFilter', correlationXml(filter.correlation))
}

const actionXml = (action: string | undefined): string =>
  action === undefined ? typed('Action', 'EmptyRuleAction', '') : typed('Action', 'SqlRuleAction', sqlXml(action))

const typed = (name: string, type: string, content: string): string => `<${name} i:type="${type}">${content}</${name}>`

const sqlXml = (expression: string): string =>
  elements({ SqlExpression: expression, CompatibilityLevel: compatibilityLevel })

const correlationXml = (filter: CorrelationFilter): string => {
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined
  const fields = elements({
    CorrelationId: text(filter.correlationId),
    MessageId: text(filter.messageId),
    To: text(filter.to),
    ReplyTo: text(filter.replyTo),
    Label: text(filter.subject),
    SessionId: text(filter.sessionId),
    ReplyToSessionId: text(filter.replyToSessionId),
    ContentType: text(filter.contentType),
  })
  const properties = Object.entries(filter.applicationProperties ?? {})
    .map(propertyXml)
    .join('')
  return properties === '' ? fields : `${fields}<Properties>${properties}</Properties>`
}

const propertyXml = ([key, value]: [string, unknown]): string => {
  const [type, text] = schemaValue(value)
  return `<KeyValueOfstringanyType><Key>${escapeXml(key)}</Key><Value i:type="d6p1:${type}" xmlns:d6p1="${schemaNamespace}">${escapeXml(text)}</Value></KeyValueOfstringanyType>`
}

const schemaValue = (value: unknown): [type: string, text: string] => {
  if (typeof value === 'boolean') return ['boolean', String(value)]
  if (value instanceof Date) return ['dateTime', value.toISOString()]
  if (typeof value === 'number') return [Number.isInteger(value) ? 'int' : 'double', String(value)]
  return ['string', typeof value === 'string' || typeof value === 'bigint' ? String(value) : JSON.stringify(value)]
}
