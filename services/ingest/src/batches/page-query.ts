import { z } from 'zod'

/** OpenAI's paging: up to `limit` objects behind the one named by `after`. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().min(1).max(128).optional(),
})
