export { AppError, toAppError } from './app-error.ts'
export { type ErrorCode, isErrorCode } from './error-codes.ts'
export { openAIErrorBody } from './openai-error.ts'
