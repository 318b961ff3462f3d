export { type AdmissionOptions, createAdmission } from './admission.ts'
export {
  type Admission,
  type CallEnd,
  type DeploymentState,
  type Grant,
  quotaOf,
  type Reservation,
  type ReserveInput,
  type TenantShare,
} from './admission-types.ts'
export { type BudgetCheck, createBudgetCheck } from './budget-check.ts'
export { type BudgetOptions, createBudgets } from './budgets.ts'
export type { BudgetHold, Budgets } from './budget-types.ts'
export { estimateTokens } from './estimate-tokens.ts'
export { assumeIdle } from './quota-script.ts'
