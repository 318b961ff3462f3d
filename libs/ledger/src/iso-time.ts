/** Epoch milliseconds as the rows write times: RFC 3339 in UTC with milliseconds, so that their text sorts as they do. */
export function isoTime(epochMs: number): string {
  // Rows written together carry the same few moments.
  if (epochMs !== lastMs) {
    lastText = new Date(epochMs).toISOString()
    lastMs = epochMs
  }
  return lastText
}

let lastMs = Number.NaN
let lastText = ''
