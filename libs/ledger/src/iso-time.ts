/** Epoch milliseconds as the rows write times: RFC 3339 in UTC with milliseconds, so that their text sorts as they do. */
export const isoTime = (epochMs: number): string => new Date(epochMs).toISOString()
