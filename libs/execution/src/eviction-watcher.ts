import type { Admission } from '@sluice/admission'
import { type Deployment, type ScheduledEvent, scheduledEventsSchema } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import { type Clock, type Timer, withDeadline } from '@sluice/resilience'
import type { Logger } from '@sluice/telemetry'

interface EvictionWatcherOptions {
  deployments: readonly Deployment[]
  admission: Pick<Admission, 'drain'>
  clock: Clock
  logger: Logger
  /** How often each address is asked. A spot machine has 30 seconds from the notice on. */
  intervalMs?: number
}

const version = '2020-07-01'
const askMs = 1_500
// The machine goes at NotBefore. Should it come back, nobody says so: after this long calls probe it again, and until one
// is answered the breaker keeps others away.
const awayMs = 5 * 60_000
// What a timer can wait for; a notice is seconds ahead.
const longestMs = 24 * 3600_000

/**
 * Asks the Scheduled Events of spot deployments that name an address and drains a deployment as soon as its machine is
 * to be pre-empted. What is in flight goes on until the machine may go, and is failed over then: a machine that is switched
 * off closes no connection. Every worker watches; draining twice is harmless.
 */
export function watchEvictions(options: EvictionWatcherOptions) {
  const { admission, clock, logger, intervalMs = 2_000 } = options
  const spots = options.deployments.flatMap(({ name, azure_name, spot }) =>
    spot?.scheduled_events_url === undefined
      ? []
      : [{ name, machine: azure_name ?? name, url: addressOf(spot.scheduled_events_url) }],
  )
  const known = new Set<string>()
  const inFlight = new Map(spots.map(({ name }) => [name, new AbortController()]))
  const leaving = new Set<Timer>()
  const away = new Set<string>()
  let timer: Timer | undefined
  let stopped = false

  const eventsAt = async (url: string): Promise<readonly ScheduledEvent[]> =>
    withDeadline(
      askMs,
      undefined,
      async (signal) => {
        const answer = await fetch(url, { headers: { Metadata: 'true' }, redirect: 'error', signal })
        if (!answer.ok) throw new Error(`it answered ${answer.status}`)
        return scheduledEventsSchema.parse(await answer.json()).Events
      },
      () => new Error('it did not answer in time'),
      clock,
    )

  const giveUpAt = (name: string, goesAt: number) => {
    const giveUp = () => {
      leaving.delete(due)
      inFlight.get(name)?.abort(new AppError('model_unavailable', `The machine of ${name} was taken away.`))
      inFlight.set(name, new AbortController())
    }
    const inMs = Math.min(Math.max(0, goesAt - clock.now()), longestMs)
    const due = clock.setTimeout(giveUp, inMs)
    leaving.add(due)
  }

  const look = async ({ name, machine, url }: (typeof spots)[number]) => {
    let events: readonly ScheduledEvent[]
    try {
      events = await eventsAt(url)
      if (away.delete(url)) logger.info({ deployment: name }, 'scheduled events can be read again')
    } catch (err) {
      // Once per change: an address that is away is asked every two seconds.
      if (!away.has(url)) logger.warn({ err, deployment: name }, 'scheduled events cannot be read')
      away.add(url)
      return
    }
    for (const { EventId, EventType, NotBefore, Resources } of events) {
      // An address may speak for several machines; one that names none of ours by its deployment's name speaks for ours.
      const ours = Resources.length === 0 || Resources.includes(machine) || !isShared(url)
      if (EventType !== 'Preempt' || !ours || known.has(`${EventId} ${name}`)) continue
      // An event that has begun has no time any more.
      const notBefore = Date.parse(NotBefore ?? '')
      const goesAt = Number.isNaN(notBefore) ? clock.now() : notBefore
      const untilMs = goesAt + awayMs
      try {
        await admission.drain(name, { reason: 'preempt', untilMs })
        known.add(`${EventId} ${name}`)
        if (!stopped) giveUpAt(name, goesAt)
        logger.warn({ deployment: name, goesAt: NotBefore }, 'a spot machine is being evicted: drained')
      } catch (err) {
        logger.warn({ err, deployment: name }, 'an evicted deployment could not be drained; trying again')
      }
    }
  }
  const isShared = (url: string): boolean => spots.filter((spot) => spot.url === url).length > 1

  const round = async () => {
    await Promise.all(spots.map(look))
    if (!stopped && spots.length > 0) timer = clock.setTimeout(() => void round(), intervalMs)
  }
  return {
    start: () => void round(),
    /** Aborts, with an error that fails over, when the deployment's machine goes; undefined for one that cannot. */
    evictionOf: (deployment: string): AbortSignal | undefined => inFlight.get(deployment)?.signal,
    stop() {
      stopped = true
      timer?.cancel()
      for (const due of leaving) due.cancel()
    },
  }
}

function addressOf(text: string): string {
  const url = new URL(text)
  if (!url.searchParams.has('api-version')) url.searchParams.set('api-version', version)
  return url.href
}
