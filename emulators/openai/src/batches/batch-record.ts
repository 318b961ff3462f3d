import type { Json } from '../json-fields.ts'

export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled'

export interface BatchProblem {
  code: string
  message: string
  line: number | null
  param: string | null
}

/** A batch as it is stored: what the API shows, and how far its work has come. Times are epoch ms of the virtual clock. */
export interface BatchRecord {
  resource: string
  id: string
  endpoint: string
  inputFileId: string
  completionWindow: string
  metadata: Json | null
  status: BatchStatus
  createdAt: number
  expiresAt: number
  inProgressAt?: number
  finalizingAt?: number
  completedAt?: number
  failedAt?: number
  expiredAt?: number
  cancellingAt?: number
  cancelledAt?: number
  errors: BatchProblem[]
  deployment: string | undefined
  total: number
  completed: number
  failed: number
  enqueuedTokens: number
  /** Bytes of the input that are done, and of the two files that hold its results: where work resumes. */
  inputOffset: number
  output: { id: string; bytes: number }
  error: { id: string; bytes: number }
  usage: { inputTokens: number; cachedTokens: number; outputTokens: number; reasoningTokens: number }
}

export const isFinal = (status: BatchStatus): boolean =>
  status === 'completed' || status === 'failed' || status === 'expired' || status === 'cancelled'

const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : Math.floor(ms / 1000))

/** The batch object of the API. Files appear when the batch is over, the error file even when it is empty. */
export function showBatch(batch: BatchRecord): Json {
  const over = isFinal(batch.status) && batch.status !== 'failed' && batch.deployment !== undefined
  const { usage } = batch
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.deployment ?? null,
    errors: batch.errors.length > 0 ? { object: 'list', data: batch.errors } : null,
    input_file_id: batch.inputFileId,
    completion_window: batch.completionWindow,
    status: batch.status,
    output_file_id: over ? batch.output.id : null,
    error_file_id: over ? batch.error.id : null,
    created_at: seconds(batch.createdAt),
    in_progress_at: seconds(batch.inProgressAt),
    expires_at: seconds(batch.expiresAt),
    finalizing_at: seconds(batch.finalizingAt),
    completed_at: seconds(batch.completedAt),
    failed_at: seconds(batch.failedAt),
    expired_at: seconds(batch.expiredAt),
    cancelling_at: seconds(batch.cancellingAt),
    cancelled_at: seconds(batch.cancelledAt),
    request_counts: { total: batch.total, completed: batch.completed, failed: batch.failed },
    metadata: batch.metadata,
    usage: {
      input_tokens: usage.inputTokens,
      input_tokens_details: { cached_tokens: usage.cachedTokens },
      output_tokens: usage.outputTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: usage.inputTokens + usage.outputTokens,
    },
  }
}
