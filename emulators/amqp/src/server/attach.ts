import type { BrokerError } from '../broker-error.ts'
import { amqpTypes, type RheaReceiver, type RheaSender } from './rhea-internals.ts'

type Terminus = { address?: unknown; filter?: Record<string, unknown>; described(): unknown }

const remoteTerminus = (link: RheaSender | RheaReceiver, end: 'source' | 'target'): Terminus | undefined =>
  (link.remote.attach?.[end] as Terminus | null | undefined) ?? undefined

/** The address of one end of the link as the client gave it. */
export const addressOf = (link: RheaSender | RheaReceiver, end: 'source' | 'target'): string | undefined => {
  const address = remoteTerminus(link, end)?.address
  return typeof address === 'string' ? address : undefined
}

/** Agrees to the client's attach: source, target and settle modes are echoed. */
export const acceptAttach = (link: RheaSender | RheaReceiver): void => {
  const { attach } = link.local
  attach['source'] = remoteTerminus(link, 'source')?.described()
  attach['target'] = remoteTerminus(link, 'target')?.described()
  attach['snd_settle_mode'] = link.snd_settle_mode
  attach['rcv_settle_mode'] = link.rcv_settle_mode
}

/** Refuses the client's attach the AMQP way: an attach without the broker's end, then a detach with the error. */
export const refuseAttach = (link: RheaSender | RheaReceiver, error: BrokerError): void => {
  link.local.attach['source'] = undefined
  link.local.attach['target'] = undefined
  if (link.is_receiver()) (link as RheaReceiver).refused = true
  link.close({ condition: error.condition, description: error.message })
}

/** Withholds the attach reply that rhea has already planned; `resumeAttach` sends it. */
export const holdAttach = (link: RheaSender | RheaReceiver): void => {
  link.state.local_open = false
  link.state.open_requests = 0
}

export const resumeAttach = (link: RheaSender | RheaReceiver): void => link.open()

const sessionFilter = 'com.microsoft:session-filter'
const epochTicks = 621_355_968_000_000_000n

/** The session a receiver asks for: a string, null for the next one, undefined when it asks for none. */
export const requestedSession = (sender: RheaSender): string | null | undefined => {
  const filter = remoteTerminus(sender, 'source')?.filter
  if (filter === undefined || filter === null || !(sessionFilter in filter)) return undefined
  const value = filter[sessionFilter]
  if (typeof value === 'string') return value
  const described = typeof value === 'object' && value !== null && 'value' in value ? value.value : null
  return typeof described === 'string' ? described : null
}

/** A filter of the client's source by its key; described filters yield their value. */
export const requestedFilter = (sender: RheaSender, key: string): string | undefined => {
  const value = remoteTerminus(sender, 'source')?.filter?.[key]
  if (typeof value === 'string') return value
  return typeof value === 'object' && value !== null && 'value' in value && typeof value.value === 'string'
    ? value.value
    : undefined
}

/** Tells the client which session it holds, and until when, in .NET ticks. */
export const grantSession = (sender: RheaSender, sessionId: string, lockedUntilMs: number): void => {
  const ticks = Buffer.alloc(8)
  ticks.writeBigInt64BE(BigInt(lockedUntilMs) * 10_000n + epochTicks)
  sender.set_source({ address: addressOf(sender, 'source') ?? '', filter: { [sessionFilter]: sessionId } })
  sender.local.attach['properties'] = { 'com.microsoft:locked-until-utc': amqpTypes.wrap_long(ticks) }
}
