import { z } from 'zod'
import { sluiceOptionsSchema } from './request-line.ts'

/** A message of queue `batches`: a file of lines in Blob Storage, and what holds for each line that does not say itself. */
export const batchSubmissionSchema = z.strictObject({
  custom_id: z.string().min(1).max(512),
  input: z.strictObject({ blob: z.string().min(1).max(1024).describe('JSONL of request lines, under <tenant>/') }),
  sluice: sluiceOptionsSchema.optional(),
})
export type BatchSubmission = z.infer<typeof batchSubmissionSchema>
