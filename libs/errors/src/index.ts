export { AppError, type AppErrorOptions, toAppError } from './app-error.ts'
export { type Disposition, type ErrorCode, isErrorCode } from './error-codes.ts'
export { openAIErrorBody, type OpenAIErrorBody } from './openai-error.ts'
