import { type Deployment, isBatchUrl, type PlatformConfig, type RequestLine } from '@sluice/contracts'

/** The part of a line that decides whether it can wait. */
type Packable = Pick<RequestLine, 'sluice'> & Partial<Pick<RequestLine, 'url'>>

/**
 * Whether a request may be kept for the Batch API instead of running now: it is bulk, its caller said until when the
 * answer is good, that leaves enough time for a batch and for going online after all, nobody waits for a stream or for
 * the next turn of a conversation, it goes on from no response, which one resource alone knows, and a deployment that
 * takes batches may answer it.
 * @param model as the caller named it; @param nowMs epoch milliseconds
 */
export function shouldPack(
  line: Packable,
  {
    model,
    stream,
    previous_response_id: previous,
  }: { model: string; stream?: unknown; previous_response_id?: unknown },
  { batch, deployments, routing }: Pick<PlatformConfig, 'batch' | 'deployments' | 'routing'>,
  nowMs: number,
): boolean {
  const { enabled, min_slack_ms: minSlackMs } = batch.packer
  const { sluice = {}, url } = line
  const { priority, deadline, conversation, cache = 'off' } = sluice
  if (!enabled || url === undefined || !isBatchUrl(url) || priority !== 'bulk' || deadline === undefined) return false
  if (conversation !== undefined || cache !== 'off' || stream === true || typeof previous === 'string') return false
  if (Date.parse(deadline) - nowMs < minSlackMs + batch.online_before_ms) return false
  const wanted = [routing.aliases[model] ?? model].flat()
  const named = ({ name, model: own, tier }: Deployment) =>
    wanted.some((one) => one === name || one === own || one === tier || (one === 'auto' && tier !== undefined))
  const only = sluice.region?.only
  return deployments.some(
    (deployment) =>
      deployment.batch !== undefined &&
      deployment.urls.includes(url) &&
      named(deployment) &&
      (only === undefined || only.includes(deployment.region)),
  )
}
