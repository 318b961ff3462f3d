import type { BodyRef, DeliverTarget, LineUrl, SluiceOptions, Usage } from '@sluice/contracts'

/**
 * The states of a logical batch and of its parts. Every arrow is one patch on the row, conditional on its `fence` and
 * `status`; a worker takes the fence (+ 1) before it does anything, so that one that was slow, or that BullMQ called
 * twice, finds its writes refused.
 *
 * ```
 * batch   validating ─plan─▶ planned ─poke parts─▶ uploading ─all submitted─▶ in_progress ─all parts done─▶ finalizing
 *             │                 │                      │                          │                           │
 *             │                 └──────────────────────┴────── cancel ────────────┴──▶ cancelling ─parts done─┤
 *             └─ no line can run ─▶ failed                                                                    ▼
 *                                                      completed | expired (lines left) | cancelled | failed (lost)
 *
 * part    planned ─reserve tokens─▶ uploading ─create─▶ in_progress ─region is through─▶ collecting ─▶ done
 *            │ ▲                        │                   │  │                             ▲
 *            │ └── no room, refused ────┘                   │  └─ deadline, cancel ─▶ cancelling
 *            │                                              └─ region lost ─▶ abandoned ─ paid output is waste ─▶ done
 *            └─ no deployment, deadline near ─▶ online ─ every line's request has ended ─▶ done
 * ```
 *
 * Invariants, which the property test drives with random interleavings:
 * - `fence` never falls; only the holder of the current one moves a row. `cancel` takes the fence as a worker does.
 * - A terminal batch and a done part never change again, except that their event is noted as published.
 * - The lines of a part that ended without an answer belong to exactly one child (`<part>.r`), created before the part
 *   is done; a part is done once. A child that its parent does not name does nothing: a holder that had lost the fence
 *   made it. So each line is in the results of one part, and its cost is counted once.
 * - `open` is true from birth until nothing is left to do, its last event included; `due_at` says when somebody must look
 *   at the latest. Rows are the truth; whatever timer rings is a hint.
 */
export const batchStatuses = [
  'validating',
  'planned',
  'uploading',
  'in_progress',
  'finalizing',
  'completed',
  'failed',
  'expired',
  'cancelling',
  'cancelled',
] as const
export type BatchStatus = (typeof batchStatuses)[number]

/** What may follow a status; nothing follows the terminal ones. */
export const batchMoves: Record<BatchStatus, readonly BatchStatus[]> = {
  validating: ['planned', 'failed', 'cancelling'],
  planned: ['uploading', 'cancelling'],
  uploading: ['in_progress', 'finalizing', 'cancelling'],
  in_progress: ['finalizing', 'cancelling'],
  cancelling: ['finalizing'],
  finalizing: ['completed', 'failed', 'expired', 'cancelled'],
  completed: [],
  failed: [],
  expired: [],
  cancelled: [],
}

export type PartStatus =
  | 'planned'
  | 'uploading'
  | 'in_progress'
  | 'cancelling'
  | 'collecting'
  | 'abandoned'
  | 'online'
  | 'done'

export const partMoves: Record<PartStatus, readonly PartStatus[]> = {
  planned: ['uploading', 'online', 'done'],
  uploading: ['in_progress', 'planned', 'abandoned'],
  in_progress: ['cancelling', 'collecting', 'abandoned', 'planned'],
  cancelling: ['collecting', 'abandoned'],
  collecting: ['done', 'abandoned'],
  abandoned: ['done'],
  online: ['done'],
  done: [],
}

export const isBatchOver = (status: BatchStatus): boolean => batchMoves[status].length === 0

interface Common {
  id: string
  tenant: string
  /** The batch that the row belongs to: with the tenant the partition. */
  batch: string
  schema: 1
  fence: number
  /** Who took the fence last, for people. */
  owner: string | null
  open: boolean
  due_at: string
  created_at: string
  updated_at: string
}

export interface BatchProblem {
  code: string
  message: string
  line: number | null
  param: string | null
}

/** How a batch will end once its results are merged. */
export type Ending = 'completed' | 'expired' | 'cancelled' | 'failed'

export interface BatchRow extends Common {
  kind: 'batch'
  status: BatchStatus
  mode: 'standard' | 'sticky'
  /** Of a sticky batch: where its file is pinned, for good. */
  region?: string
  /** `file`: a file of lines. `rows`: requests that the packer gathered. */
  source: 'file' | 'rows'
  /** Every line is a request of its own in the ledger, with its own result event. */
  per_line: boolean
  endpoint: LineUrl
  /** Absent for gathered requests. */
  input_file_id?: string
  completion_window: string
  metadata: Record<string, string> | null
  deadline: string
  deliver?: DeliverTarget[]
  /** What holds for each line that does not say itself. */
  defaults?: SluiceOptions
  traceparent?: string
  /** Its plan, once there is one. */
  plan?: BodyRef
  /** Lines; of these rejected: a line that cannot run is answered in the error file. */
  lines: { total: number; rejected: number }
  /** When a status was first reached, RFC 3339. */
  times: Partial<Record<BatchStatus, string>>
  ending?: Ending
  output_file_id?: string
  error_file_id?: string
  problems: BatchProblem[]
  /** What its abandoned parts turned out to have cost, often after its end. */
  abandoned_waste_usd: number
  /** Sums over the parts, once it is over. */
  totals?: Totals
  /** Names of events that are not known to be on the topic, oldest first. */
  events: string[]
  /** The number of the last progress event, in tenths of the lines. */
  progress: number
}

export interface Totals {
  completed: number
  failed: number
  cost_usd: number
  /** What the same usage costs online. */
  online_usd: number
  /** Paid and not delivered: abandoned or doubled. */
  waste_usd: number
  usage: Usage
  regions: string[]
  by_region: Record<string, RegionProgress>
}

export interface RegionProgress {
  lines: number
  completed: number
  failed: number
}

/** Where a part runs or ran. */
export interface Regional {
  deployment: string
  region: string
  file?: string
  batch?: string
  /** When the batch was created, RFC 3339. */
  since?: string
}

/** What a part's end is made of; written with the fence, once. */
export interface PartOutcome {
  completed: number
  failed: number
  cost_usd: number
  online_usd: number
  waste_usd: number
  usage: Usage
  /** Blob of its answered lines, sorted by their place in the input; absent when there are none. */
  results?: string
}

export interface PartRow extends Common {
  kind: 'part'
  status: PartStatus
  /** Blob of its lines, whose custom ids are their places in the input and whose model is filled in at the upload. */
  blob: string
  lines: number
  bytes: number
  /** Enqueued tokens, by the estimate. */
  tokens: number
  endpoint: LineUrl
  /** Deployments that may run it; empty: online. */
  route: string[]
  /** How many parts its lines were in before. */
  attempt: number
  regional: Regional | null
  /** True while its tokens count against its deployment's limit. */
  holds: boolean
  /** Why it was cancelled: its remaining lines go online, or end with the batch. */
  reason?: 'deadline' | 'cancel'
  /** Consecutive looks at it that found nothing new or failed. */
  quiet: number
  /** Since when its region fails, RFC 3339. */
  failing_since: string | null
  /** Lines done as the region tells, while it runs. */
  live: { completed: number; failed: number }
  /** Online: all its lines were sent. */
  sent?: boolean
  /** The part that goes on with its unanswered lines. */
  child?: string
  /** It was abandoned: its cost is in the batch's `abandoned_waste_usd`. */
  lost?: true
  outcome?: PartOutcome
}

/** A file, in the container `files`. */
export interface FileRow {
  id: string
  tenant: string
  schema: 1
  purpose: string
  filename: string
  bytes: number
  /** Accepted and rejected lines of an input file. */
  lines: number
  rejected: number
  /** The first rejected lines. */
  problems: BatchProblem[]
  /** Its blob, under `<tenant>/`. */
  blob: string
  /** The blob was there before the file, and outlives it. */
  adopted?: true
  /** The url that all its lines name. */
  endpoint?: LineUrl
  /** Of a sticky file: where its batches run, for good. */
  region?: string
  created_at: string
}
