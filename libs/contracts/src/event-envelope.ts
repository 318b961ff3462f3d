import { z } from 'zod'
import { tenantSchema } from './request-line.ts'

/**
 * What every event of Sluice has in common, whatever it is about: CloudEvents 1.0 in structured JSON mode. Sinks look at
 * nothing else, so a new kind of event reaches all of them without a change.
 */
export const eventEnvelopeSchema = z.looseObject({
  specversion: z.literal('1.0'),
  id: z.string().min(1).max(512).describe('stable over re-publishing'),
  type: z.string().startsWith('sluice.').max(128),
  source: z.string().startsWith('/sluice/'),
  subject: z.string().min(1).max(255).describe('the id of what the event is about'),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  traceparent: z.string().optional(),
  data: z.looseObject({}),
})

export interface EventEnvelope {
  specversion: '1.0'
  id: string
  type: string
  source: string
  subject: string
  time: string
  datacontenttype: 'application/json'
  traceparent?: string | undefined
  data: object
}

/** The tenant that an event belongs to, from its source; undefined when that names none. */
export function tenantOfEvent({ source }: Pick<EventEnvelope, 'source'>): string | undefined {
  const tenant = tenantSchema.safeParse(source.slice('/sluice/'.length))
  return tenant.success ? tenant.data : undefined
}
