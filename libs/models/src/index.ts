export type { ModelAnswer } from './model-answer.ts'
export { createModels, type Models } from './models.ts'
export { upstreamStatus } from './translate-error.ts'
export { costUsd } from './usage.ts'
