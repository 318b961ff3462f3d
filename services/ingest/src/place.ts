import type { Row } from '@sluice/ledger'
import type { Parking } from '@sluice/parking'
import { z } from 'zod'

export const placeSchema = z
  .object({
    position: z.int().describe('requests of its tenant and lane that are due before it'),
    eta_ms: z
      .tuple([z.number(), z.number()])
      .nullable()
      .describe('from now: if nothing more arrived, and if everything goes on arriving; null while nothing tells'),
    estimate: z.boolean().describe('true while no worker has received it: only what waits before it is known'),
  })
  .nullable()
/** Where a request stands in its own tenant and lane. */
type PlaceView = z.infer<typeof placeSchema>

/** @returns null for what runs or has ended, and while Redis cannot tell */
export async function placeOf(parking: Pick<Parking, 'place' | 'expect'>, row: Row): Promise<PlaceView> {
  const { status, tenant, id, lane } = row
  if (status !== 'accepted' && status !== 'waiting') return null
  try {
    const known = status === 'waiting' ? await parking.place(tenant, id) : undefined
    const { position, etaMs } = known ?? (await parking.expect(lane, tenant))
    const eta_ms: [number, number] | null = etaMs === undefined ? null : [Math.ceil(etaMs[0]), Math.ceil(etaMs[1])]
    return { position, eta_ms, estimate: known === undefined }
  } catch {
    return null
  }
}
