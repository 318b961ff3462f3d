import { parseDuration } from './duration.ts'

/** A configuration that cannot be used; the message names the place in the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** Typed access to one object of a Config.json, with the path for error messages. */
export class ConfigReader {
  readonly #value: Record<string, unknown>
  readonly #path: string

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new ConfigError(`${path} must be an object`)
    this.#value = value as Record<string, unknown>
    this.#path = path
  }

  get path(): string {
    return this.#path
  }

  has(name: string): boolean {
    return this.#value[name] !== undefined && this.#value[name] !== null
  }

  /** The object under `name`; an empty one when absent. */
  object(name: string): ConfigReader {
    return new ConfigReader(this.#value[name] ?? {}, `${this.#path}.${name}`)
  }

  /** The objects under `name`; none when absent. */
  list(name: string): ConfigReader[] {
    const value = this.#value[name] ?? []
    if (!Array.isArray(value)) throw this.#error(name, 'a list')
    return value.map((item, index) => new ConfigReader(item, `${this.#path}.${name}[${index}]`))
  }

  /** The entries of the object under `name`, whatever their types. */
  record(name: string): Record<string, unknown> {
    const value = this.#value[name] ?? {}
    if (typeof value !== 'object' || Array.isArray(value)) throw this.#error(name, 'an object')
    return value as Record<string, unknown>
  }

  /** A required text that is not empty. */
  name(name: string): string {
    const value = this.text(name)
    if (value === undefined || value === '') throw this.#error(name, 'a text that is not empty')
    return value
  }

  text(name: string): string | undefined {
    const value = this.#value[name]
    if (value === undefined || value === null) return undefined
    if (typeof value !== 'string') throw this.#error(name, 'a text')
    return value
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.#value[name] ?? fallback
    if (value === 'true' || value === 'false') return value === 'true'
    if (typeof value !== 'boolean') throw this.#error(name, 'true or false')
    return value
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const raw = this.#value[name] ?? fallback
    const value = typeof raw === 'string' ? Number(raw) : raw
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw this.#error(name, `a whole number from ${min} to ${max}`)
    return value
  }

  durationMs(name: string, fallbackMs: number): number {
    const value = this.text(name)
    if (value === undefined) return fallbackMs
    const durationMs = parseDuration(value)
    if (durationMs === undefined || durationMs === 0) throw this.#error(name, 'an ISO 8601 duration such as PT30S')
    return durationMs
  }

  choice<const T extends string>(name: string, choices: readonly T[], fallback: T): T {
    const value = this.text(name) ?? fallback
    const found = choices.find((choice) => choice.toLowerCase() === value.toLowerCase())
    if (found === undefined) throw this.#error(name, `one of ${choices.join(', ')}`)
    return found
  }

  #error(name: string, expected: string): ConfigError {
    return new ConfigError(`${this.#path}.${name} must be ${expected}`)
  }
}
