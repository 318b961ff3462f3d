import { AppError } from '@sluice/errors'
import type { Lane } from './lane-config.ts'
import { tenantSchema } from './request-line.ts'

/**
 * The tenant of a message: the one that it names when the queue serves that one, else the queue's default. A queue's
 * configuration, not the message, decides whom it serves.
 * @throws AppError `tenant_not_allowed`
 */
export function tenantOnLane(
  name: string,
  lane: Pick<Lane, 'tenants' | 'default_tenant'>,
  named: string | undefined,
): string {
  const tenant = named ?? lane.default_tenant
  const param = 'sluice.tenant'
  if (tenant === undefined) throw new AppError('tenant_not_allowed', `${param}: required on ${name}`, { param })
  const served = lane.tenants === '*' || lane.tenants.includes(tenant)
  if (served && tenantSchema.safeParse(tenant).success) return tenant
  throw new AppError('tenant_not_allowed', `${param}: ${JSON.stringify(tenant.slice(0, 64))} may not use ${name}`, {
    param,
  })
}
