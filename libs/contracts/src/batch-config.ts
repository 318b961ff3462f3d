import { z } from 'zod'

/**
 * Limits of the Batch API and how bulk work is packed. Defaults are Azure's documented ones.
 * https://learn.microsoft.com/azure/ai-foundry/openai/how-to/batch
 */
export const batchConfigSchema = z.strictObject({
  max_lines: z.int().positive().default(100_000).describe('lines of one regional file'),
  max_bytes: z
    .int()
    .positive()
    .default(200 * 1024 * 1024)
    .describe('bytes of one regional file'),
  part_lines: z
    .int()
    .positive()
    .default(10_000)
    .describe('lines of one regional part: with a lost region its unfinished parts are done again'),
  max_file_bytes: z
    .int()
    .positive()
    .default(1024 ** 3)
    .describe('bytes of a file handed to Sluice'),
  max_line_bytes: z
    .int()
    .positive()
    .default(4 * 1024 * 1024),
  poll_ms: z.int().positive().default(15_000).describe('first pause between two looks at a part; doubles with jitter'),
  max_poll_ms: z.int().positive().default(300_000),
  region_lost_after_ms: z
    .int()
    .positive()
    .default(10 * 60 * 1000)
    .describe('a region that answers nothing for this long is lost: its parts go to others'),
  online_before_ms: z
    .int()
    .nonnegative()
    .default(30 * 60 * 1000)
    .describe('this long before a deadline unanswered lines go online'),
  packer: z
    .strictObject({
      enabled: z.boolean().default(true),
      min_slack_ms: z
        .int()
        .positive()
        .default(2 * 3600 * 1000)
        .describe('a bulk line with less time to its deadline runs online at once'),
      max_lines: z.int().positive().default(10_000),
      max_wait_ms: z
        .int()
        .positive()
        .default(5 * 60 * 1000)
        .describe('a batch is made of what is there after this long'),
    })
    .prefault({}),
})
