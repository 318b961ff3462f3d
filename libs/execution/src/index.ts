export { createExecution } from './execution.ts'
export type { Execution, Outcome, RunInput } from './execution-types.ts'
