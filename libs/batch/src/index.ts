export { type Batches, createBatches } from './batches.ts'
export { type Batching, createBatching } from './batching.ts'
export { createFiles, type Files } from './files.ts'
