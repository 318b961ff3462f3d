import type { ServiceBusReceivedMessage } from '@azure/service-bus'
import { type Clock, systemClock } from '@sluice/resilience'
import { Bag } from './bag.ts'
import { decodeMessage } from './decode-message.ts'
import { asSdkMessage, LinkMessage, type RheaDelivery, type RheaMessage } from './link-message.ts'

interface Told {
  message?: RheaMessage
  delivery?: RheaDelivery & { [own]?: LinkMessage }
}

interface Transfer {
  performative: { more?: boolean; message_format?: number }
  payload?: Buffer
}

interface Corkable {
  cork?(): void
  uncork?(): void
}

interface RheaLink {
  connection?: { socket?: Corkable }
  dispatch?: (this: unknown, name: string, told: Told, ...more: unknown[]) => boolean
  session?: { on_transfer?: (this: unknown, frame: Transfer) => void; _get_link?(frame: Transfer): unknown }
  /** A delivery of which more frames are to come. */
  _incomplete?: unknown
}

/** A link of rhea-promise, which the SDK is built on, and within it rhea's own, where every event of it begins. */
interface LinkInternals {
  isOpen(): boolean
  _link?: RheaLink
}

const own = Symbol('message')
/** What the SDK itself waits for an answer here, by `retryOptions.timeoutInMs`. */
const answerMs = 5_000
const lookMs = 1_000

/**
 * Takes a link's messages, and the answers to completions, where they come in. On the way to a receiver's handler each
 * passes four event emitters, is copied twice and translated once, and gets two spans: a third of what receiving costs.
 * Whatever else happens on the link goes its usual way, and so do messages where the SDK's inside is another.
 */
export function takeFromLink(
  link: object,
  take: (message: ServiceBusReceivedMessage) => void,
  clock: Clock = systemClock,
): void {
  const internals = link as LinkInternals
  const rhea = internals._link
  const dispatch = rhea?.dispatch
  if (rhea === undefined || typeof dispatch !== 'function') return
  const completions = new Completions(rhea, clock)
  const takeDecoded = decodeOn(rhea)
  rhea.dispatch = (name, told, ...more) => {
    const { delivery } = told
    const message = name === 'message' ? (takeDecoded() ?? told.message) : undefined
    if (name === 'message' && message !== undefined && delivery !== undefined) {
      // As the SDK does: what a closed link still brings could not be settled.
      if (!internals.isOpen()) return true
      const taken = new LinkMessage(message, delivery, (completed) => completions.send(completed))
      delivery[own] = taken
      take(asSdkMessage(taken))
      return true
    }
    if (name === 'settled' && delivery?.[own]?.settled() === true) {
      completions.answered(delivery[own])
      // Its place in rhea's window is free again.
      delivery.settled = true
      return true
    }
    return dispatch.call(rhea, name, told, ...more)
  }
}

/** What rhea hands on as it came: it decodes messages of format 0, which is AMQP's. */
const decodedFormat = 0xffffffff

/**
 * Decodes the messages of a link before rhea does, where `decodeMessage` can and they are in one frame.
 * @returns takes the one that rhea is about to tell of, if it was
 */
function decodeOn(link: RheaLink): () => RheaMessage | undefined {
  const { session } = link
  const onTransfer = session?.on_transfer
  if (typeof onTransfer !== 'function' || typeof session?._get_link !== 'function') return () => undefined
  let decoded: RheaMessage | undefined
  session.on_transfer = (frame) => {
    const { performative, payload } = frame
    const alone = performative.more !== true && performative.message_format === 0 && link._incomplete === undefined
    decoded = alone && payload !== undefined && session._get_link?.(frame) === link ? decodeMessage(payload) : undefined
    if (decoded !== undefined) performative.message_format = decodedFormat
    onTransfer.call(session, frame)
  }
  return () => {
    const taken = decoded
    decoded = undefined
    return taken
  }
}

/**
 * The completions of a link. Those of one turn go out in the order of their deliveries, for which rhea then writes ranges,
 * and in one piece: handlers end in any order, and a frame and a system call for each is what both sides would pay for.
 */
class Completions {
  readonly #link: RheaLink
  readonly #clock: Clock
  /** Not sent yet. */
  #turn: LinkMessage[] = []
  /** Sent. One timer looks after all of them. */
  readonly #waiting = new Bag<LinkMessage>()
  #watched = false

  constructor(link: RheaLink, clock: Clock) {
    this.#link = link
    this.#clock = clock
  }

  send(message: LinkMessage): void {
    // In this turn still, after the promises that end together.
    if (this.#turn.push(message) === 1) process.nextTick(() => this.#flush())
  }

  answered(message: LinkMessage): void {
    this.#waiting.delete(message)
  }

  #flush(): void {
    const now = this.#clock.monotonic()
    const messages = this.#turn.sort((a, b) => a.delivery.id - b.delivery.id)
    this.#turn = []
    const socket = this.#link.connection?.socket
    socket?.cork?.()
    for (const message of messages) {
      if (message.delivery.link?.is_open() !== true) {
        message.giveUp()
        continue
      }
      message.askedAtMs = now
      this.#waiting.add(message)
      message.delivery.accept()
    }
    // rhea writes in the next tick, which the first accept has asked for.
    process.nextTick(() => socket?.uncork?.())
    this.#watch()
  }

  #watch(): void {
    if (this.#watched) return
    this.#watched = true
    this.#clock.setTimeout(() => this.#look(), lookMs)
  }

  #look(): void {
    this.#watched = false
    const now = this.#clock.monotonic()
    for (const message of [...this.#waiting.members]) {
      if (now - message.askedAtMs < answerMs) continue
      this.#waiting.delete(message)
      message.giveUp()
    }
    if (this.#waiting.members.length > 0) this.#watch()
  }
}
