export { type AdmissionOptions, createAdmission } from './admission.ts'
export type { Admission, Grant, Quota, Reservation } from './admission-types.ts'
export { estimateTokens } from './estimate-tokens.ts'
export { assumeIdle } from './quota-script.ts'
