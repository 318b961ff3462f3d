/** How a door treats files and batches: over all regions, or each file with its batches in one. */
export interface Door {
  prefix: string
  sticky: boolean
  /** Only the first spelling is in the OpenAPI document. */
  documented: boolean
}

/**
 * Everywhere that files and batches are served. OpenAI's clients append `/files` to a base that ends in `/v1`, Azure's to
 * one that ends in `/openai`; with a base of `…/openai-sticky` they add `/openai` to that.
 */
export const doors: readonly Door[] = [
  { prefix: '/v1', sticky: false, documented: true },
  { prefix: '/openai/v1', sticky: false, documented: false },
  { prefix: '/openai', sticky: false, documented: false },
  { prefix: '/openai-sticky/v1', sticky: true, documented: true },
  { prefix: '/openai-sticky', sticky: true, documented: false },
  { prefix: '/openai-sticky/openai/v1', sticky: true, documented: false },
  { prefix: '/openai-sticky/openai', sticky: true, documented: false },
]
