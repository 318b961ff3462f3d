import { randomUUID } from 'node:crypto'
import type { Deployment } from '../quotas/deployment.ts'
import type { Twin } from '../twin.ts'

/** Cuts every open call, or those of a resource or of a deployment, as the loss of its machines does. */
export function cutOpenCalls(
  twin: Twin,
  resource: string | undefined,
  deployment: string | undefined,
  why: string,
): void {
  for (const exchange of twin.open) {
    if (resource !== undefined && exchange.resource.settings.name !== resource) continue
    if (deployment !== undefined && exchange.deployment?.settings.name !== deployment) continue
    exchange.cut(why)
  }
}

interface Eviction {
  eventId: string
  deployment: Deployment
  notBefore: number
  started: boolean
}

/** Spot machines that have been given notice, in the shape of Azure's Scheduled Events. */
export class Evictions {
  #list: Eviction[] = []
  #incarnation = 1

  /** Gives notice; the machine goes when the virtual clock reaches its end, or when the notice is acknowledged. */
  give(deployment: Deployment, now: number, noticeMs: number): string {
    const eventId = randomUUID().toUpperCase()
    this.#list.push({ eventId, deployment, notBefore: now + noticeMs, started: false })
    this.#incarnation++
    return eventId
  }

  /** Carries out what is due. */
  runDue(twin: Twin): void {
    const now = twin.clock.now()
    for (const eviction of this.#list) {
      if (eviction.started || eviction.notBefore > now) continue
      eviction.started = true
      this.#incarnation++
      eviction.deployment.evicted = true
      cutOpenCalls(twin, eviction.deployment.resource, eviction.deployment.settings.name, 'evicted')
    }
  }

  /** Acknowledges an event (StartRequests): it need not wait for NotBefore. False when there is no such event. */
  start(eventId: string, now: number): boolean {
    const found = this.#list.find((eviction) => eviction.eventId === eventId && !eviction.started)
    if (found) found.notBefore = now
    return found !== undefined
  }

  /** Gives the machine back and forgets its notices. */
  restore(deployment: Deployment): void {
    deployment.evicted = false
    this.#list = this.#list.filter((eviction) => eviction.deployment !== deployment)
    this.#incarnation++
  }

  clear(): void {
    for (const { deployment } of this.#list) deployment.evicted = false
    this.#list = []
    this.#incarnation++
  }

  /** The document of `GET /metadata/scheduledevents?api-version=2020-07-01` as a machine of that resource sees it. */
  document(resource: string, deployment: string | undefined): object {
    const events = this.#list
      .filter((eviction) => !eviction.started && eviction.deployment.resource === resource)
      .filter((eviction) => deployment === undefined || eviction.deployment.settings.name === deployment)
      .map((eviction) => ({
        EventId: eviction.eventId,
        EventStatus: 'Scheduled',
        EventType: 'Preempt',
        ResourceType: 'VirtualMachine',
        Resources: [eviction.deployment.settings.name],
        NotBefore: new Date(eviction.notBefore).toUTCString(),
        Description: '',
        EventSource: 'Platform',
        DurationInSeconds: -1,
      }))
    return { DocumentIncarnation: this.#incarnation, Events: events }
  }
}
