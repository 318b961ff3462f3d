export type EntityStatus = 'Active' | 'Disabled' | 'SendDisabled' | 'ReceiveDisabled'

/** The settings of a queue, topic or subscription, with the service's defaults filled in. Durations that mean "forever" are `Infinity`. */
export type EntityProperties = {
  lockDurationMs: number
  maxDeliveryCount: number
  defaultTtlMs: number
  deadLetterOnExpiration: boolean
  requiresSession: boolean
  requiresDuplicateDetection: boolean
  duplicateWindowMs: number
  forwardTo: string | undefined
  forwardDeadLetteredTo: string | undefined
  maxSizeBytes: number
  status: EntityStatus
}

/** What a dead-letter queue is, whatever it belongs to: nothing expires and nothing is dead-lettered again. */
export const deadLetterProperties = (owner: EntityProperties): EntityProperties => ({
  lockDurationMs: owner.lockDurationMs,
  maxDeliveryCount: Infinity,
  defaultTtlMs: Infinity,
  deadLetterOnExpiration: false,
  requiresSession: false,
  requiresDuplicateDetection: false,
  duplicateWindowMs: 0,
  forwardTo: undefined,
  forwardDeadLetteredTo: undefined,
  maxSizeBytes: Infinity,
  status: owner.status,
})
