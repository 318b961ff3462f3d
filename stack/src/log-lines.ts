import type { ProcessEvent } from '@sluice/emulator-host'

const levels: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' }
const omitted = new Set(['level', 'time', 'msg', 'service', 'pid', 'hostname'])

/** A child's log line for a person: the process' name, then level, message and fields of a JSON line, else the line. */
export function readableLine(event: ProcessEvent): string {
  const name = event.name.padEnd(13)
  if (event.kind === 'note') return `${name} ${event.note}`
  const record = jsonRecord(event.line)
  if (record === undefined || typeof record.msg !== 'string') return `${name} ${event.line}`
  const level = typeof record.level === 'number' ? (levels[record.level] ?? '') : String(record.level)
  const fields = Object.entries(record)
    .filter(([field]) => !omitted.has(field))
    .map(([field, value]) => `${field}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
  return `${name} ${level.padEnd(5)} ${[record.msg, ...fields].join(' ')}`
}

function jsonRecord(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}
