export { type AdmissionOptions, createAdmission } from './admission.ts'
export type { Admission, Grant, Quota, Reservation, ReserveInput } from './admission-types.ts'
export { estimateTokens } from './estimate-tokens.ts'
export { assumeIdle, type ScriptingRedis } from './quota-script.ts'
