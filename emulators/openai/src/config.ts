import { isObject } from './json-fields.ts'
import type { Json } from './json-fields.ts'

const deploymentKinds = ['standard', 'ptu', 'batch', 'spot', 'model-router'] as const
const capabilities = ['vision', 'tools', 'json_schema', 'logprobs', 'audio'] as const

type DeploymentKind = (typeof deploymentKinds)[number]
export type Capability = (typeof capabilities)[number]

/** Milliseconds of real time; jitter is the share by which each call's figures vary, 0 to 1. */
interface LatencySettings {
  first_token_ms: number
  per_token_ms: number
  jitter: number
}

/** How fast a batch deployment works, in the virtual clock's time. */
export interface BatchSettings {
  validate_ms: number
  lines_per_minute: number
  finalize_ms: number
  cancel_ms: number
  /** Requests that one batch may have. */
  max_lines: number
}

/** One deployment as the configuration file writes it, defaults filled in. Limits that are absent do not apply. */
export interface DeploymentSettings {
  name: string
  model: string
  model_version?: string
  kind: DeploymentKind
  tokens_per_minute?: number
  requests_per_minute?: number
  /** `fixed` resets each minute, as Azure documents; `sliding` never lets any 60 s hold more than the limit. */
  token_window: 'fixed' | 'sliding'
  /** Output tokens that the estimate assumes for a call that names no maximum. */
  default_max_tokens: number
  ptu_tokens_per_minute?: number
  /** What one output token weighs in PTU utilisation, an input token being 1. */
  ptu_output_weight: number
  enqueued_tokens?: number
  ability: number
  latency: LatencySettings
  context_tokens: number
  max_output_tokens: number
  capabilities: Capability[]
  /** The models that a model-router deployment chooses from, weakest first. */
  routes_to: string[]
  batch: BatchSettings
}

export interface ResourceSettings {
  name: string
  region: string
  keys: string[]
  /** Bytes that an uploaded file may have; 200 MiB without it. */
  max_file_bytes: number
  deployments: DeploymentSettings[]
}

export interface TwinConfig {
  resources: ResourceSettings[]
}

/** What a configuration file may hold: everything but names, models and keys has a default. */
export type DeploymentInput = Partial<Omit<DeploymentSettings, 'latency' | 'batch'>> & {
  name: string
  model: string
  latency?: Partial<LatencySettings>
  batch?: Partial<BatchSettings>
}

export interface TwinConfigInput {
  resources: {
    name: string
    region?: string
    keys?: string[]
    max_file_bytes?: number
    deployments: DeploymentInput[]
  }[]
}

const positive: readonly (keyof DeploymentSettings)[] = [
  'tokens_per_minute',
  'requests_per_minute',
  'ptu_tokens_per_minute',
  'enqueued_tokens',
  'context_tokens',
  'max_output_tokens',
  'default_max_tokens',
  'ptu_output_weight',
]

export const defaultBatchSettings: BatchSettings = {
  validate_ms: 1_000,
  lines_per_minute: 60_000,
  finalize_ms: 1_000,
  cancel_ms: 1_000,
  max_lines: 100_000,
}

const defaults = (kind: DeploymentKind): Omit<DeploymentSettings, 'name' | 'model'> => ({
  kind,
  token_window: 'fixed',
  default_max_tokens: 16,
  ptu_output_weight: 1,
  ability: 0.9,
  latency: { first_token_ms: 0, per_token_ms: 0, jitter: 0 },
  context_tokens: 128_000,
  max_output_tokens: 16_384,
  capabilities: [...capabilities],
  routes_to: ['gpt-4.1-nano', 'gpt-4.1-mini', 'gpt-4.1'],
  batch: defaultBatchSettings,
})

const fail = (where: string, problem: string): never => {
  throw new TypeError(`${where}: ${problem}`)
}

function name(value: unknown, where: string): string {
  if (typeof value !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)) {
    return fail(where, 'must be 1 to 64 letters, digits, dots, dashes or underscores')
  }
  return value
}

function numbers<T extends object>(value: unknown, template: T, where: string): T {
  if (value === undefined) return template
  if (!isObject(value)) return fail(where, 'must be an object')
  for (const [field, number] of Object.entries(value)) {
    if (!(field in template)) fail(`${where}.${field}`, `unknown, expected one of ${Object.keys(template).join(', ')}`)
    if (typeof number !== 'number' || !(number >= 0)) fail(`${where}.${field}`, 'must be a number, 0 or more')
  }
  return { ...template, ...value }
}

function checkFields(input: Json, where: string): void {
  for (const field of positive) {
    const value = input[field]
    if (value !== undefined && !(typeof value === 'number' && value > 0)) fail(`${where}.${field}`, 'must be positive')
  }
  const { ability, kind, token_window: window } = input
  if (ability !== undefined && !(typeof ability === 'number' && ability >= 0 && ability <= 1)) {
    fail(`${where}.ability`, 'must lie between 0 and 1')
  }
  if (kind !== undefined && !deploymentKinds.includes(kind as DeploymentKind)) {
    fail(`${where}.kind`, `must be one of ${deploymentKinds.join(', ')}`)
  }
  if (window !== undefined && window !== 'fixed' && window !== 'sliding') {
    fail(`${where}.token_window`, 'must be fixed or sliding')
  }
  for (const field of ['capabilities', 'routes_to']) {
    const list = input[field]
    if (list === undefined) continue
    if (!Array.isArray(list) || !list.every((item) => typeof item === 'string')) {
      fail(`${where}.${field}`, 'must be a list of strings')
    } else if (field === 'capabilities') {
      const unknown = list.find((item) => !capabilities.includes(item as Capability))
      if (unknown !== undefined) fail(`${where}.capabilities`, `unknown capability ${unknown}`)
    } else if (list.length === 0) fail(`${where}.routes_to`, 'must name at least one model')
  }
  const version = input['model_version']
  if (version !== undefined && typeof version !== 'string') fail(`${where}.model_version`, 'must be a string')
}

const fieldNames = new Set<string>([
  ...positive,
  ...Object.keys(defaults('standard')),
  'name',
  'model',
  'model_version',
])

/**
 * Merges new settings into a deployment's present ones, checked like a configuration file.
 * @throws TypeError whose message starts with the path of the offending field.
 */
export function mergeDeployment(present: DeploymentSettings, change: Json, where: string): DeploymentSettings {
  const unknown = Object.keys(change).find((field) => !fieldNames.has(field))
  if (unknown !== undefined) fail(`${where}.${unknown}`, 'unknown field')
  checkFields(change, where)
  const { name: _name, latency, batch, ...rest } = change
  return {
    ...present,
    ...rest,
    latency: numbers(latency, present.latency, `${where}.latency`),
    batch: numbers(batch, present.batch, `${where}.batch`),
  }
}

function parseDeployment(value: unknown, where: string): DeploymentSettings {
  if (!isObject(value)) return fail(where, 'must be an object')
  const identity = { name: name(value['name'], `${where}.name`), model: name(value['model'], `${where}.model`) }
  const kind = (value['kind'] ?? 'standard') as DeploymentKind
  const settings = mergeDeployment({ ...identity, ...defaults(kind) }, value, where)
  if (kind === 'ptu' && settings.ptu_tokens_per_minute === undefined) {
    fail(`${where}.ptu_tokens_per_minute`, 'a ptu deployment needs its capacity')
  }
  return settings
}

/**
 * Reads a configuration: `{ resources: [{ name, region, keys, deployments }] }`.
 * @throws TypeError whose message starts with the path of the offending field.
 */
export function parseConfig(value: unknown): TwinConfig {
  if (!isObject(value) || !Array.isArray(value['resources']) || value['resources'].length === 0) {
    return fail('resources', 'must be a list with at least one resource')
  }
  const resources = value['resources'].map((entry: unknown, index): ResourceSettings => {
    const where = `resources[${index}]`
    if (!isObject(entry)) return fail(where, 'must be an object')
    const resource = name(entry['name'], `${where}.name`)
    const keys = entry['keys'] ?? [`twin-key-${resource}`]
    if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key === 'string' && key.length > 0)) {
      fail(`${where}.keys`, 'must be a list of non-empty strings')
    }
    const deployments = entry['deployments']
    if (!Array.isArray(deployments)) return fail(`${where}.deployments`, 'must be a list')
    const parsed = deployments.map((item: unknown, at) => parseDeployment(item, `${where}.deployments[${at}]`))
    const twice = parsed.find((item, at) => parsed.findIndex((other) => other.name === item.name) !== at)
    if (twice) fail(`${where}.deployments`, `two deployments are called ${twice.name}`)
    const region = entry['region'] ?? resource
    if (typeof region !== 'string') return fail(`${where}.region`, 'must be a string')
    const maxFileBytes = entry['max_file_bytes'] ?? 200 * 1024 * 1024
    if (typeof maxFileBytes !== 'number' || !(maxFileBytes > 0))
      return fail(`${where}.max_file_bytes`, 'must be positive')
    return { name: resource, region, keys: keys as string[], max_file_bytes: maxFileBytes, deployments: parsed }
  })
  const twice = resources.find((item, at) => resources.findIndex((other) => other.name === item.name) !== at)
  if (twice) fail('resources', `two resources are called ${twice.name}`)
  return { resources }
}
