import { z } from 'zod'
import { type ResultLine, resultLineSchema, terminalStatuses } from './result-line.ts'

const resultEventTypes = [
  'sluice.request.succeeded',
  'sluice.request.failed',
  'sluice.request.cancelled',
  'sluice.request.expired',
] as const

/** A CloudEvents 1.0 event, structured JSON mode, whose data is a result line. */
export const resultEventSchema = z.object({
  specversion: z.literal('1.0'),
  id: z.string().describe('<requestId>.<status>; stable over re-publishing'),
  type: z.enum(resultEventTypes),
  source: z.string().describe('/sluice/<tenant>'),
  subject: z.string().describe('the request id'),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  traceparent: z.string().optional(),
  data: resultLineSchema,
})
export type ResultEvent = z.infer<typeof resultEventSchema>

/**
 * The event that publishes a stored result. Its id depends on request and status only, so that a second publishing
 * of the same result is recognised by every consumer.
 */
export function resultEvent(line: ResultLine, finishedAt: string, traceparent?: string): ResultEvent {
  const status = line.sluice.status
  return {
    specversion: '1.0',
    id: `${line.id}.${status}`,
    type: `sluice.request.${status}`,
    source: `/sluice/${line.sluice.tenant}`,
    subject: line.id,
    time: finishedAt,
    datacontenttype: 'application/json',
    ...(traceparent === undefined ? {} : { traceparent }),
    data: line,
  }
}

export const isTerminal = (status: string): status is (typeof terminalStatuses)[number] =>
  (terminalStatuses as readonly string[]).includes(status)
