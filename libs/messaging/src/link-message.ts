import { type ServiceBusReceivedMessage, ServiceBusError } from '@azure/service-bus'
import type { Placed } from './bag.ts'

/** What rhea says of a delivery; `link` is missing once it was given up, see `forgetLostLink`. */
export interface RheaDelivery {
  id: number
  tag: Buffer | string
  link?: { is_open(): boolean } | undefined
  settled: boolean
  remote_settled: boolean
  remote_state?: { error?: { condition?: string; description?: string } } | undefined
  accept(): void
}

/** A message as rhea decoded it, with AMQP's names. */
export interface RheaMessage {
  body?: unknown
  application_properties?: Record<string, unknown>
  message_annotations?: Record<string, unknown>
  message_id?: string | number | Buffer
  correlation_id?: string | number | Buffer
  subject?: string
  content_type?: string
  reply_to?: string
  reply_to_group_id?: string
  group_id?: string
  delivery_count?: number
}

/** What a completion came to: the broker's answer, or none in time. */
type Answered = 'answered' | 'unanswered'

/**
 * A message as it lies on the link, in place of the SDK's own: the same fields for what is read here and what the SDK's
 * settlements and renewals read, most of them worked out when somebody asks.
 */
export class LinkMessage implements Placed {
  readonly delivery: RheaDelivery
  readonly #message: RheaMessage
  readonly #send: (message: LinkMessage) => void
  place = -1
  /** When (monotonic) its completion was sent. */
  askedAtMs = 0
  #answer: { resolve: (answered: Answered) => void; reject: (error: Error) => void } | undefined
  #unanswered = false

  /** @param send sends a completion within this turn of the event loop, and looks after its answer */
  constructor(message: RheaMessage, delivery: RheaDelivery, send: (message: LinkMessage) => void) {
    this.#message = message
    this.delivery = delivery
    this.#send = send
  }

  get body(): unknown {
    const { body } = this.#message
    return isSection(body) ? body.content : body
  }
  get messageId() {
    return this.#message.message_id ?? undefined
  }
  get correlationId() {
    return this.#message.correlation_id ?? undefined
  }
  get subject() {
    return this.#message.subject ?? undefined
  }
  get contentType() {
    return this.#message.content_type ?? undefined
  }
  get replyTo() {
    return this.#message.reply_to ?? undefined
  }
  get replyToSessionId() {
    return this.#message.reply_to_group_id ?? undefined
  }
  get sessionId() {
    return this.#message.group_id ?? undefined
  }
  get deliveryCount() {
    return this.#message.delivery_count
  }
  /** As the SDK has them: timestamps are numbers. */
  get applicationProperties(): Record<string, unknown> | undefined {
    const properties = this.#message.application_properties
    if (properties === undefined || properties === null) return undefined
    for (const name in properties) {
      const value = properties[name]
      if (value instanceof Date) properties[name] = value.getTime()
    }
    return properties
  }
  get sequenceNumber(): number | bigint | undefined {
    const number = this.#message.message_annotations?.['x-opt-sequence-number']
    // rhea leaves what a double cannot hold as its bytes.
    return Buffer.isBuffer(number) ? number.readBigInt64BE() : (number as number | undefined)
  }
  get enqueuedTimeUtc(): Date | undefined {
    return dateOf(this.#message.message_annotations?.['x-opt-enqueued-time'])
  }
  get lockedUntilUtc(): Date | undefined {
    return dateOf(this.#message.message_annotations?.['x-opt-locked-until'])
  }
  /** The SDK notes here what a renewal answered; nobody reads it. */
  set lockedUntilUtc(_: Date | undefined) {}
  /** The delivery's tag, which is a GUID in the byte order of .NET. */
  get lockToken(): string {
    const { tag } = this.delivery
    const hex = (typeof tag === 'string' ? Buffer.from(tag) : tag).toString('hex')
    const turned = (from: number, to: number) => (hex.slice(from, to).match(/../g) ?? []).toReversed().join('')
    return [turned(0, 8), turned(8, 12), turned(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
  }

  /**
   * Sends the completion in this turn, and resolves when the broker has answered, or nobody has after a while. One disposition
   * on the link: none of the SDK's timers, spans and retries, which `settle` has itself.
   * @returns undefined when it is for the SDK to do: the link is gone, or did not answer before
   * @throws ServiceBusError by which the broker refused
   */
  complete(): Promise<Answered> | undefined {
    const { delivery } = this
    if (this.#unanswered || delivery.remote_settled || delivery.link?.is_open() !== true) return undefined
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject }
      this.#send(this)
    })
  }

  /** The broker has settled the delivery. @returns false when no completion from here waits for that */
  settled(): boolean {
    const answer = this.#answer
    if (answer === undefined) return false
    this.#answer = undefined
    const error = this.delivery.remote_state?.error
    if (error?.condition === undefined && error?.description === undefined) answer.resolve('answered')
    else answer.reject(refusal(error))
    return true
  }

  giveUp(): void {
    this.#unanswered = true
    this.#answer?.resolve('unanswered')
    this.#answer = undefined
  }
}

/** For where the SDK's type is asked for. */
export const asSdkMessage = (message: LinkMessage): ServiceBusReceivedMessage =>
  message as unknown as ServiceBusReceivedMessage

const sectionCodes: ReadonlySet<unknown> = new Set([0x75, 0x76, 0x77])
const isSection = (body: unknown): body is { content: unknown } =>
  typeof body === 'object' && body !== null && sectionCodes.has((body as { typecode?: unknown }).typecode)

const dateOf = (value: unknown): Date | undefined =>
  value === undefined || value === null ? undefined : new Date(value as number | Date)

const codes: Record<string, 'MessageLockLost' | 'MessageNotFound'> = {
  'com.microsoft:message-lock-lost': 'MessageLockLost',
  'com.microsoft:message-not-found': 'MessageNotFound',
}

const refusal = ({ condition = '', description }: { condition?: string; description?: string }) =>
  new ServiceBusError(description ?? condition, codes[condition] ?? 'GeneralError')
