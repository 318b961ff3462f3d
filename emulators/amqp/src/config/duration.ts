const pattern = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/
// The largest TimeSpan of .NET, which the service writes for "forever".
const foreverDays = 10_675_199

/**
 * Milliseconds of an ISO 8601 duration in days, hours, minutes and seconds; `Infinity` for the service's "forever".
 * @returns undefined when the text is no such duration
 */
export const parseDuration = (text: string): number | undefined => {
  const match = pattern.exec(text)
  if (match === null || text === 'P' || text.endsWith('T')) return undefined
  const [days, hours, minutes, seconds] = match.slice(1).map((part) => Number(part ?? 0))
  if ((days ?? 0) >= foreverDays) return Infinity
  return Math.round((((days ?? 0) * 24 + (hours ?? 0)) * 60 + (minutes ?? 0)) * 60_000 + (seconds ?? 0) * 1000)
}
