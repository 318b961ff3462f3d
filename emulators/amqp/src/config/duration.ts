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

/** The ISO 8601 form of a duration, as the service writes it. */
export const formatDuration = (durationMs: number): string => {
  if (durationMs === Infinity) return `P${foreverDays}DT2H48M5.4775807S`
  const seconds = durationMs / 1000
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor((seconds % 86_400) / 3600),
    Math.floor((seconds % 3600) / 60),
  ]
  const rest = Math.round((seconds % 60) * 1000) / 1000
  const time = `${hours > 0 ? `${hours}H` : ''}${minutes > 0 ? `${minutes}M` : ''}${rest > 0 ? `${rest}S` : ''}`
  return `P${days > 0 ? `${days}D` : ''}${time === '' && days > 0 ? '' : `T${time === '' ? '0S' : time}`}`
}
