import type { CreateEndpoint } from '@sluice/contracts'
import type { SealedSecret } from './secret-box.ts'

/** Why an endpoint gets nothing: its owner said so, it answered 410, or every attempt failed for five days. */
export type DisabledReason = 'requested' | 'gone' | 'failing'

interface StoredSecret extends SealedSecret {
  created_at: string
  /** From then on it signs no more; the newest has no end. */
  expires_at?: string
}

/** A registered webhook endpoint (container `endpoints`). Times are RFC 3339 in UTC. */
export interface EndpointRow extends Omit<CreateEndpoint, 'description'> {
  id: string
  tenant: string
  description: string | null
  status: 'enabled' | 'disabled'
  disabled: { reason: DisabledReason; at: string; detail: string } | null
  /** The newest first; two while one is being rotated. */
  secrets: StoredSecret[]
  /** Since when every attempt has failed; null while the last one succeeded. */
  failing_since: string | null
  /** Counts how often it was disabled: part of that event's id. */
  disabled_count: number
  /** False from the moment it is disabled until the event that says so is on the topic. */
  announced: boolean
  created_at: string
  updated_at: string
}
