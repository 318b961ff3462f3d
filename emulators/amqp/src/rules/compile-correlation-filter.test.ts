import { expect, it } from 'vitest'

import { compileCorrelationFilter } from './index.ts'
import type { CorrelationFilter, RuleMessage } from './index.ts'

const message: RuleMessage = {
  properties: {
    messageId: 'm',
    correlationId: 'high',
    subject: 'red',
    to: 't',
    replyTo: 'r',
    sessionId: 's',
    replyToSessionId: 'rs',
    contentType: 'application/json',
  },
  applicationProperties: { Color: 'Red', version: 2, big: 2n ** 60n, at: new Date(5), none: null, ok: true },
  system: { sequenceNumber: 1, enqueuedTime: new Date(0) },
}

it.each<[string, CorrelationFilter]>([
  ['without conditions', {}],
  ['every system property', message.properties],
  ['undefined conditions', { correlationId: 'high', subject: undefined, applicationProperties: { nope: undefined } }],
  ['user properties, names ignoring case', { applicationProperties: { color: 'Red', VERSION: 2 } }],
  ['the same number as another numeric type', { applicationProperties: { version: 2n, big: 2n ** 60n } }],
  ['dates, booleans and null', { applicationProperties: { at: new Date(5), ok: true, none: null } }],
])('matches %s', (_, filter) => {
  expect(compileCorrelationFilter(filter)(message)).toBe(true)
})

it.each<[string, CorrelationFilter]>([
  ['another value', { correlationId: 'low' }],
  ['another case', { subject: 'Red' }],
  ['one of two conditions', { correlationId: 'high', subject: 'blue' }],
  ['a property that the message lacks', { applicationProperties: { missing: 'x' } }],
  ['null against a missing property', { applicationProperties: { missing: null } }],
  ['a string against a number', { applicationProperties: { version: '2' } }],
  ['an inherited property', { applicationProperties: { constructor: Object } }],
])('does not match %s', (_, filter) => {
  expect(compileCorrelationFilter(filter)(message)).toBe(false)
})
