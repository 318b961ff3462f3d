import { condition, type Cosmos } from '@sluice/storage'
import type { MonthSpend } from './budget-script.ts'

/** A month of a tenant in container `budgets`, partitioned by tenant. Amounts are nano-dollars and only ever grow. */
interface BudgetRow {
  /** `2026-11` */
  id: string
  tenant: string
  month_nano: number
  days: Record<string, number>
}

/** Where spending survives a Redis that lost its memory. @throws AppError `storage_unavailable`. */
export function createBudgetCheckpoints(cosmos: Pick<Cosmos, 'rows'>) {
  const rows = cosmos.rows<BudgetRow>('budgets')
  return {
    async read(tenant: string, month: string, signal?: AbortSignal): Promise<MonthSpend> {
      const row = await rows.read(month, [tenant], signal)
      return { month: row?.month_nano ?? 0, days: row?.days ?? {} }
    },
    /** A stored amount that is as large stays: of two writers the one that saw more is right. */
    async write(tenant: string, month: string, spend: MonthSpend): Promise<void> {
      const patched = await rows.patch({
        id: month,
        key: [tenant],
        operations: [
          { op: 'set', path: '/month_nano', value: spend.month },
          { op: 'set', path: '/days', value: spend.days },
        ],
        when: condition`c.month_nano < ${spend.month}`,
      })
      if (patched.kind !== 'missing') return
      const row = { id: month, tenant, month_nano: spend.month, days: spend.days }
      // Somebody else created it just now: the next checkpoint brings what is missing.
      await rows.create(row)
    },
  }
}
