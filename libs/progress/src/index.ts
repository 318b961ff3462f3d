export { createProgress, type Progress } from './progress.ts'
export type { ProgressEntry, SignalRTarget } from './progress-entry.ts'
export { type SharedEntry, readSharedEntry, signalrGroup, signalrStream } from './shared-stream.ts'
