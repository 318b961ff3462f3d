import type { Usage } from '@sluice/contracts'

/** A deployment's successful answer. */
export interface ModelAnswer {
  status: number
  /** The parsed JSON, untouched; of audio endpoints also a string or a Buffer. */
  body: unknown
  /** Of a body that is not JSON. */
  contentType?: string
  /** The answer as it was sent; absent for one that was streamed. */
  text?: string
  /** What the provider says is left of the deployment's quota, when it says so. */
  remainingTokens: number | undefined
  remainingRequests: number | undefined
  usage: Usage
  /** The provider's id of the call, for its support. */
  requestId: string
  /** From the call to the last byte of the answer. */
  ms: number
  /** From the call to the first output of a streamed answer. */
  firstByteMs: number | undefined
}
