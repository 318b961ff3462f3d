import { pino } from 'pino'
import { LineBuffer } from './line-buffer.ts'
import { redact, redactText } from './redact.ts'

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

/** Lines of JSON with ISO time, level by name and the service's name. */
export function createLogger({ service, level = 'info', destination }: LoggerOptions): Logger {
  const options = {
    level,
    base: { service },
    timestamp: isoTime,
    // pino's own serializer would copy every enumerable field of an error, undoing the redaction.
    serializers: { err: (value: unknown) => value },
    formatters: { level: (label: string) => ({ level: label }) },
  }
  // Synchronous: the buffered stream tries for ever to flush into a pipe whose reader is gone, so that a process whose
  // supervisor was killed would never exit (sonic-boom's flushSync retries EPIPE).
  return wrap(pino(options, destination ?? standardOutput()))
}

// As pino's own, but that lines of one second share what is before its milliseconds.
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
const standardOutput = (): LineBuffer => (output ??= new LineBuffer(pino.destination({ fd: 1, sync: true })))

// Redaction sits in front of pino and not in its formatters, because pino drops a `bindings` formatter in children.
function wrap(lines: pino.Logger): Logger {
  const at =
    (level: LogLevel): Log =>
    (fields: object | string, message?: string) => {
      if (!lines.isLevelEnabled(level)) return
      if (typeof fields === 'string') lines[level](redactText(fields))
      else lines[level](redact(fields), redactText(message ?? ''))
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: (fields) => wrap(lines.child(redact(fields) as object)),
  }
}
