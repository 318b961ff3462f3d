// Doubt in the model's own words, and second thoughts about what it was asked.
const hedges =
  /\b(?:however|mistake|assum(?:e|ed|es|ing)|cannot|not possible|impossible|correct(?:ed|ion)|approximately|round(?:ed)?|but|wait|since|actually|seems?|unclear|unknown|error|contradict\w*|probably|perhaps|maybe|might|not (?:entirely )?(?:sure|certain)|i (?:think|guess|believe))\b/gi

/** How often an answer doubts itself. */
export const hedgesIn = (text: string): number => text.match(hedges)?.length ?? 0

const refusals =
  /^\W*(?:i['’]?m (?:very )?sorry|i am sorry|sorry|i apologi[sz]e|unfortunately|as an ai)?[^.!?\n]{0,80}\b(?:i (?:can ?not|can['’]?t|am unable to|['’]m unable to|won['’]?t|will not)|(?:can ?not|can['’]?t|unable to) (?:assist|help|comply|answer|provide|fulfil))\b/i

/** Whether an answer is nothing but a refusal: a short text that opens with one. */
export const isRefusal = (text: string): boolean => text.length < 600 && refusals.test(text.slice(0, 300))
