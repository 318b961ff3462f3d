import { estimateTokens } from '@sluice/admission'
import type { PlatformConfig, RequestBody } from '@sluice/contracts'
import type { ParkedAs, Row } from '@sluice/ledger'
import { classOf, unknownClass } from '@sluice/parking'
import { decide } from '@sluice/routing'

/** How a request counts while it waits: for which deployments, and what its call would take. */
export type Classify = (row: Pick<Row, 'tenant' | 'lane' | 'line' | 'key_limits'>, body: RequestBody) => ParkedAs

/** Scores and routes as the run will; what cannot be routed is left for the run to fail. */
export const createClassify =
  (config: PlatformConfig): Classify =>
  ({ tenant, lane, line, key_limits: key }, body) => {
    const url = line.url ?? '/v1/chat/completions'
    try {
      const priority = config.lanes[lane]?.priority
      const { candidates } = decide({ url, body, options: line.sluice, config, tenant, priority })
      return { class: classOf(candidates, key?.principal), tokens: estimateTokens(body, url) }
    } catch {
      return unknownClass
    }
  }
