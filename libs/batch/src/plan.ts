import {
  type BodyRef,
  checkLine,
  type Deployment,
  nestsTooDeeply,
  type PlatformConfig,
  type RequestBody,
  type RequestLine,
  type SluiceOptions,
  tooDeepMessage,
} from '@sluice/contracts'
import { AppError, toAppError } from '@sluice/errors'
import type { Blobs, BlobWriter } from '@sluice/storage'
import { batchRoute } from './batch-route.ts'
import type { BatchProblem, BatchRow } from './batch-row.ts'
import { checkBatchBody, type CheckedLine } from './check-lines.ts'
import { partLine } from './part-lines.ts'

/** A regional part as it was planned; its row follows when the plan is known to the batch's row. */
export interface PlannedPart {
  blob: string
  lines: number
  bytes: number
  tokens: number
  /** Deployments that may run it; empty: online. */
  route: string[]
}

export interface Plan {
  /** Blob with a {@link ManifestLine} for every line of the input, in its order. */
  manifest: string
  parts: PlannedPart[]
  lines: { total: number; rejected: number }
}

/** What the merge must know of a line besides its answer. */
export interface ManifestLine {
  custom_id: string
  /** The model that the caller asked for, and its options: what the line needs online. */
  model?: string
  sluice?: SluiceOptions
  /** Its request in the ledger, where lines are requests of their own. */
  row?: string
  /** The line never ran. */
  error?: { code: string; message: string; param: string | null; line: number | null }
}

interface OpenPart extends PlannedPart {
  writer: BlobWriter
}

interface PlanDeps {
  platform: PlatformConfig
  blobs: Blobs
}

/** What is done for each line besides planning it: its own row, where lines are requests of their own. */
export interface LineSink {
  /** @returns the id of the line's request */
  accepted(line: RequestLine, row: string | undefined): Promise<string>
  rejected(index: number, customId: string, problem: BatchProblem, row: string | undefined): Promise<void>
  /** Waits for what is under way. */
  end(): Promise<void>
}

/**
 * Reads a batch's lines once and lays them out: lines for the same deployments go into the same part until it is full,
 * every one into the manifest. Blobs are named after the fence, so that a planner which lost it disturbs nobody, and
 * count for nothing until the batch's row names the plan.
 * @throws AppError `storage_unavailable`; BatchRefused for a sticky batch that one region cannot take as it is
 */
export async function planBatch(
  { platform, blobs }: PlanDeps,
  batch: BatchRow,
  lines: AsyncIterable<CheckedLine>,
  sink: LineSink | undefined,
  signal: AbortSignal,
): Promise<BodyRef> {
  const folder = `batches/${batch.id}/${batch.fence}`
  const { tenant } = batch
  const manifest = blobs.writer(tenant, `${folder}/manifest.jsonl`, 'application/jsonl', signal)
  const open = new Map<string, OpenPart>()
  const plan: Plan = { manifest: `${tenant}/${folder}/manifest.jsonl`, parts: [], lines: { total: 0, rejected: 0 } }
  const sticky = batch.region === undefined ? undefined : stickyRoute(platform, batch.region)

  const close = async ({ writer, ...part }: OpenPart): Promise<void> => {
    await writer.close()
    plan.parts.push(part)
  }
  const place = async (index: number, line: RequestLine): Promise<void> => {
    const options = { priority: 'bulk' as const, ...batch.defaults, ...line.sluice }
    const body = line.body ?? (await loadBody(blobs, tenant, line, signal))
    checkBatchBody(body)
    const found = batchRoute(platform, { url: line.url, body, options })
    const deployments = sticky === undefined ? found.deployments : sticky(found.acceptable)
    const able = deployments.filter(({ batch: limits }) => found.tokens <= (limits?.enqueued_tokens ?? 0))
    const key = able.map(({ name }) => name).join(' ')
    const text = partLine(index, line.url, body)
    const bytes = Buffer.byteLength(text) + longestName
    const before = open.get(key)
    if (before !== undefined && isFull(platform, able, before, bytes, found.tokens, sticky !== undefined)) {
      if (sticky !== undefined) throw tooLargeForSticky(platform)
      open.delete(key)
      await close(before)
    }
    const part = open.get(key) ?? newPart(able)
    open.set(key, part)
    part.lines++
    part.bytes += bytes
    part.tokens += found.tokens
    await part.writer.write(text)
  }
  const newPart = (deployments: readonly Deployment[]): OpenPart => {
    const path = `${folder}/part-${String(plan.parts.length + open.size).padStart(5, '0')}.jsonl`
    const writer = blobs.writer(tenant, path, 'application/jsonl', signal)
    return {
      writer,
      blob: `${tenant}/${path}`,
      lines: 0,
      bytes: 0,
      tokens: 0,
      route: deployments.map(({ name }) => name),
    }
  }
  const note = async (entry: ManifestLine): Promise<void> => manifest.write(`${JSON.stringify(entry)}\n`)
  const reject = async (index: number, customId: string, problem: BatchProblem, row?: string): Promise<void> => {
    plan.lines.rejected++
    await note({ custom_id: customId, error: problem })
    await sink?.rejected(index, customId, problem, row)
  }

  for await (const checked of lines) {
    signal.throwIfAborted()
    const index = plan.lines.total++
    if ('problem' in checked) {
      await reject(index, checked.customId, checked.problem)
      continue
    }
    const { line, number, row } = checked
    try {
      await place(index, line)
    } catch (thrown) {
      const error = thrown instanceof BatchRefused ? undefined : toAppError(thrown)
      if (error?.disposition !== 'reject' && error?.disposition !== 'fail') throw thrown
      const { code, message, param = null } = error
      await reject(index, line.custom_id, { code, message: `line ${number}: ${message}`, line: number, param }, row)
      continue
    }
    const own = await sink?.accepted(line, row)
    const { custom_id, sluice, body } = line
    await note({
      ...{ custom_id, model: body?.model ?? 'auto' },
      ...(sluice === undefined ? {} : { sluice }),
      ...(own === undefined ? {} : { row: own }),
    })
  }
  await sink?.end()
  for (const part of open.values()) await close(part)
  await manifest.close()
  return blobs.put(tenant, `${folder}/plan.json`, Buffer.from(JSON.stringify(plan)), 'application/json', signal)
}

/** Reads a plan again. */
export async function loadPlan(blobs: Blobs, tenant: string, ref: BodyRef, signal: AbortSignal): Promise<Plan> {
  return JSON.parse((await blobs.get(tenant, ref, { signal })).toString('utf8')) as Plan
}

/** What a deployment's name may add to each line. */
const longestName = 64

function isFull(
  { batch }: PlatformConfig,
  deployments: readonly Deployment[],
  part: PlannedPart,
  bytes: number,
  tokens: number,
  sticky: boolean,
): boolean {
  // Half of a deployment's enqueued tokens: a part that needs all of them would wait until it is idle.
  const share = sticky ? 1 : 0.5
  const most = Math.min(...deployments.map(({ batch: limits }) => (limits?.enqueued_tokens ?? 0) * share))
  // What may not be split is as large as Azure allows.
  const lines = sticky ? batch.max_lines : Math.min(batch.max_lines, batch.part_lines)
  return part.lines >= lines || part.bytes + bytes > batch.max_bytes || part.tokens + tokens > most
}

/** The batch as a whole cannot run. */
export class BatchRefused extends Error {
  override readonly name = 'BatchRefused'
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

function tooLargeForSticky({ batch }: PlatformConfig): BatchRefused {
  const message = `A sticky batch runs as one regional batch of up to ${batch.max_lines} lines and ${batch.max_bytes} bytes; this one needs more.`
  return new BatchRefused('too_large_for_sticky', message)
}

/** All lines of a sticky batch run on one deployment: the first of its region that its first line may use. */
function stickyRoute(platform: PlatformConfig, region: string) {
  let chosen: Deployment | undefined
  return (acceptable: readonly Deployment[]): readonly Deployment[] => {
    chosen ??= acceptable.find((deployment) => deployment.region === region)
    if (chosen !== undefined && acceptable.includes(chosen)) return [chosen]
    const message =
      chosen === undefined
        ? `no deployment in ${region}, where the file is pinned, takes it in a batch`
        : `${chosen.name}, on which the file's other lines run, may not answer it`
    throw new AppError('no_route', message, { param: 'body.model' })
  }
}

async function loadBody(blobs: Blobs, tenant: string, line: RequestLine, signal: AbortSignal): Promise<RequestBody> {
  if (line.body_ref === undefined) throw new AppError('invalid_line', 'body: required, or a body_ref')
  const { body_ref: ref, ...rest } = line
  const bytes = await blobs.get(tenant, ref, { signal })
  const { body } = checkLine({ ...rest, body: parseBody(bytes) })
  return body as RequestBody
}

// Its writer is a caller: an error that is not told apart as theirs would have the batch planned again for ever.
function parseBody(bytes: Buffer): unknown {
  const text = bytes.toString('utf8')
  try {
    if (!nestsTooDeeply(text)) return JSON.parse(text) as unknown
  } catch (cause) {
    throw new AppError('invalid_json', 'body_ref: the blob is not JSON', { param: 'body_ref', cause })
  }
  throw new AppError('invalid_json', tooDeepMessage, { param: 'body_ref' })
}
