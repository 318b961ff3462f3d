export { type AnswerCache, type CacheMode, createAnswerCache } from './answer-cache.ts'
export type { CacheAsk } from './cache-key.ts'
export type { CachedAnswer } from './cached-answer.ts'
export { replayStream } from './replay-stream.ts'
