import type { EventEnvelope } from '@sluice/contracts'
import type { EndpointRow, Endpoints } from '@sluice/ledger'
import type { Sender } from '@sluice/messaging'
import type { Clock } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'
import type { EndpointDirectory } from './endpoint-directory.ts'

/** What attempts say about a registered endpoint. */
export interface EndpointHealth {
  /**
   * Notes an attempt. Rows change only when the endpoint turns from healthy to failing or back, or is disabled: at once
   * by a 410, or when every attempt has failed for `disableAfterMs`. Never throws.
   */
  note(endpoint: EndpointRow, succeeded: boolean, gone: boolean): Promise<void>
  /** Publishes the events of endpoints that were disabled and not announced. @returns how many */
  announce(): Promise<number>
}

const announceLimit = 100

export function createEndpointHealth(deps: {
  endpoints: Endpoints
  directory: EndpointDirectory
  topic: Pick<Sender, 'send'>
  disableAfterMs: number
  clock: Clock
  logger: Logger
}): EndpointHealth {
  const { endpoints, directory, topic, disableAfterMs, clock, logger } = deps

  const publish = async (row: EndpointRow): Promise<void> => {
    await topic.send(disabledMessage(row))
    await endpoints.markAnnounced(row)
  }
  const change = async (endpoint: EndpointRow, succeeded: boolean, gone: boolean) => {
    const since = endpoint.failing_since
    if (succeeded) return since === null ? undefined : endpoints.noteFailing(endpoint, null)
    if (gone) return endpoints.disable(endpoint, 'gone', 'the receiver answered 410')
    if (since === null) return endpoints.noteFailing(endpoint, new Date(clock.now()).toISOString())
    if (clock.now() - Date.parse(since) < disableAfterMs) return undefined
    return endpoints.disable(endpoint, 'failing', `no attempt succeeded since ${since}`)
  }

  return {
    async note(endpoint, succeeded, gone) {
      try {
        const row = await change(endpoint, succeeded, gone)
        if (row === undefined) return
        directory.note(row)
        if (row.disabled === null) return
        logger.warn({ tenant: row.tenant, endpoint: row.id, reason: row.disabled.reason }, 'endpoint disabled')
        await publish(row)
      } catch (err) {
        // The next attempt notes it again; an event that was not sent is announced by the sweeper.
        logger.warn({ err, tenant: endpoint.tenant, endpoint: endpoint.id }, 'the state of an endpoint was not noted')
      }
    },
    async announce() {
      const rows = await endpoints.unannounced(announceLimit)
      for (const row of rows) await publish(row)
      return rows.length
    },
  }
}

/** The event `sluice.endpoint.disabled`, for the tenant's other endpoints and the operator's hub. */
function disabledMessage(row: EndpointRow) {
  const event: EventEnvelope = {
    specversion: '1.0',
    id: `${row.id}.disabled.${row.disabled_count}`,
    type: 'sluice.endpoint.disabled',
    source: `/sluice/${row.tenant}`,
    subject: row.id,
    time: row.disabled?.at ?? row.updated_at,
    datacontenttype: 'application/json',
    data: {
      id: row.id,
      object: 'sluice.webhook_endpoint',
      url: row.url,
      reason: row.disabled?.reason ?? null,
      detail: row.disabled?.detail ?? null,
      failing_since: row.failing_since,
    },
  }
  return {
    body: event,
    contentType: 'application/cloudevents+json',
    subject: event.type,
    properties: {
      tenant: row.tenant,
      kind: 'endpoint',
      sink_webhook: true,
      sink_event_hubs: true,
      deliver: JSON.stringify([{ type: 'event-hubs' }]),
    },
  }
}
