import { pino } from 'pino'
import { LineBuffer } from './line-buffer.ts'
import { quoted, redactedMembers, redactText } from './redact.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal'

interface Log {
  (fields: object, message: string): void
  (message: string): void
}

/** Structured log lines. Fields are redacted at any depth; errors may be passed as any field, `err` by custom. */
export interface Logger extends Record<LogLevel, Log> {
  /** A logger whose lines all carry `fields`, typically `{ requestId, tenant }`. */
  child(fields: object): Logger
}

export interface LoggerOptions {
  service: string
  level?: LogLevel | 'silent'
  /** Where lines go, standard output unless given. Each `write` gets one line of JSON. */
  destination?: { write(line: string): void }
}

// Below the first one nothing is written.
const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'fatal']

/** Lines of JSON with ISO time, level by name and the service's name. */
export function createLogger({ service, level = 'info', destination }: LoggerOptions): Logger {
  const least = level === 'silent' ? levels.length : levels.indexOf(level)
  return writingTo(destination ?? standardOutput(), least, redactedMembers({ service }))
}

// Lines of one second share what is before its milliseconds.
let second = Number.NaN
let upToSecond = ''
function isoTime(): string {
  const now = Date.now()
  const of = Math.floor(now / 1000)
  if (of !== second) {
    second = of
    upToSecond = `,"time":"${new Date(of * 1000).toISOString().slice(0, -4)}`
  }
  return `${upToSecond}${String(now - of * 1000).padStart(3, '0')}Z"`
}

// One for all loggers of a process, so that their lines keep their order.
let output: LineBuffer | undefined
// Synchronous: the buffered stream tries for ever to flush into a pipe whose reader is gone, so that a process whose
// supervisor was killed would never exit (sonic-boom's flushSync retries EPIPE).
const standardOutput = (): LineBuffer => (output ??= new LineBuffer(pino.destination({ fd: 1, sync: true })))

// pino would print what redaction has copied; a line that is redacted while it is printed costs half as much.
function writingTo(lines: { write(line: string): void }, least: number, bindings: string): Logger {
  const at = (level: LogLevel): Log => {
    if (levels.indexOf(level) < least) return () => undefined
    const start = `{"level":"${level}"`
    return (fields: object | string, message?: string) => {
      const [members, text] = typeof fields === 'string' ? ['', fields] : [redactedMembers(fields), message ?? '']
      lines.write(`${start}${isoTime()}${bindings}${members},"msg":${quoted(redactText(text))}}\n`)
    }
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => writingTo(lines, least, bindings + redactedMembers(fields)),
  }
}
