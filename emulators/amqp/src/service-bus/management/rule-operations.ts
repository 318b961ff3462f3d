import { invalidArgument, notAllowed } from '../../broker-error.ts'
import type { AmqpValue } from '../../amqp/read-value.ts'
import type { ManagementRequest, ManagementResponse } from '../../server/management-request.ts'
import { amqpTypes, type TypedValue } from '../../server/rhea-internals.ts'
import type { Entity, Namespace } from '../namespace.ts'
import type { RuleDefinition, RuleFilter } from '../rule-set.ts'
import type { Subscription } from '../topic.ts'
import { record } from './request-fields.ts'

// Descriptors of the described lists in which rules travel.
const codes = {
  rule: 0x13700000004,
  sql: 0x1370000006,
  always: 0x1370000007,
  never: 0x1370000008,
  correlation: 0x1370000009,
  emptyAction: 0x13700000005,
  action: 0x13700000006,
}

const subscriptionOf = (entity: Entity): Subscription => {
  if (entity.kind !== 'subscription') throw notAllowed('Only subscriptions have rules.')
  return entity.subscription
}

export const enumerateRules = (entity: Entity, request: ManagementRequest): ManagementResponse => {
  const skip = Number(request.field('skip') ?? 0)
  const top = Number(request.field('top') ?? 100)
  const rules = subscriptionOf(entity).rules.definitions.slice(skip, skip + top)
  if (rules.length === 0) return { status: 204 }
  return { status: 200, body: { rules: rules.map((rule) => ({ 'rule-description': describeRule(rule) })) } }
}

export const addRule = (namespace: Namespace, entity: Entity, request: ManagementRequest): ManagementResponse => {
  const description = record(request.field('rule-description'))
  const action = record(description['sql-rule-action'])['expression']
  namespace.addRule(subscriptionOf(entity), {
    name: ruleName(request),
    filter: readFilter(description),
    ...(typeof action === 'string' ? { action } : {}),
  })
  return { status: 200 }
}

export const removeRule = (namespace: Namespace, entity: Entity, request: ManagementRequest): ManagementResponse => {
  namespace.removeRule(subscriptionOf(entity), ruleName(request))
  return { status: 200 }
}

const ruleName = (request: ManagementRequest): string => {
  const name = request.field('rule-name')
  if (typeof name !== 'string' || name === '') throw invalidArgument('rule-name must be a string.')
  return name
}

const readFilter = (description: Record<string, AmqpValue>): RuleFilter => {
  const sql = record(description['sql-filter'])['expression']
  if (typeof sql === 'string') return { sql }
  if (description['true-filter'] !== undefined) return { always: true }
  if (description['false-filter'] !== undefined) return { always: false }
  const filter = description['correlation-filter']
  if (filter === undefined) throw invalidArgument('rule-description names no filter.')
  const fields = record(filter)
  const text = (name: string): string | undefined => (typeof fields[name] === 'string' ? fields[name] : undefined)
  return {
    correlation: {
      correlationId: text('correlation-id'),
      messageId: text('message-id'),
      to: text('to'),
      replyTo: text('reply-to'),
      subject: text('label'),
      sessionId: text('session-id'),
      replyToSessionId: text('reply-to-session-id'),
      contentType: text('content-type'),
      applicationProperties: record(fields['properties']),
    },
  }
}

const described = (code: number, items: unknown[]): TypedValue =>
  amqpTypes.wrap_described(amqpTypes.wrap_list(items), code)

const describeRule = ({ name, filter, action }: RuleDefinition): TypedValue =>
  described(codes.rule, [
    describeFilter(filter),
    action === undefined ? described(codes.emptyAction, []) : described(codes.action, [action, amqpTypes.wrap_int(20)]),
    name,
  ])

const describeFilter = (filter: RuleFilter): TypedValue => {
  if ('sql' in filter) return described(codes.sql, [filter.sql, amqpTypes.wrap_int(20)])
  if ('always' in filter) return described(filter.always ? codes.always : codes.never, [])
  const { correlation } = filter
  const properties = correlation.applicationProperties ?? {}
  return described(codes.correlation, [
    correlation.correlationId,
    correlation.messageId,
    correlation.to,
    correlation.replyTo,
    correlation.subject,
    correlation.sessionId,
    correlation.replyToSessionId,
    correlation.contentType,
    Object.keys(properties).length === 0 ? null : amqpTypes.wrap_map(properties),
  ])
}
