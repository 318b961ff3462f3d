import type { IncomingHttpHeaders } from 'node:http'
import { invalidLine, type SluiceOptions, sluiceOptionsSchema, tierNames } from '@sluice/contracts'
import { AppError } from '@sluice/errors'

/** Sluice's options as headers, for clients whose bodies are typed. A header goes before the same field of the body. */
const fromHeader: Readonly<Record<string, (value: string) => Record<string, unknown>>> = {
  'x-sluice-tier': (value) => ({ tier: tierRange(value) }),
  'x-sluice-region': (value) => ({ region: { only: list(value) } }),
  'x-sluice-prefer-region': (value) => ({ region: { prefer: list(value) } }),
  'x-sluice-max-cost-usd': (value) => ({ max_cost_usd: Number(value) }),
  'x-sluice-cache': (value) => ({ cache: value }),
  'x-sluice-priority': (value) => ({ priority: value }),
  'x-sluice-deadline': (value) => ({ deadline: value }),
  'x-sluice-conversation': (value) => ({ conversation: value }),
  'x-sluice-session-id': (value) => ({ session_id: value }),
  'x-sluice-deliver': (value) => ({ deliver: [value] }),
}
const headerNames = Object.keys(fromHeader)

/**
 * @param field the body's `sluice`, undefined without one
 * @throws AppError `invalid_line` naming the field or header; `deliver` is one of them, because the answer of a
 * synchronous call is its own delivery; `tenant_not_allowed`
 */
export function sluiceOptions(headers: IncomingHttpHeaders, field: unknown, tenant: string): SluiceOptions | undefined {
  const named = headerNames.filter((name) => headers[name] !== undefined)
  if (named.length === 0 && field === undefined) return undefined
  const fields = { ...(field === undefined ? {} : parse(field, 'sluice')) }
  for (const name of named) {
    const given = parse(fromHeader[name]?.(String(headers[name])), name)
    Object.assign(fields, given, given.region === undefined ? {} : { region: { ...fields.region, ...given.region } })
  }
  if (fields.tenant !== undefined && fields.tenant !== tenant) {
    const message = 'sluice.tenant: this key belongs to another tenant'
    throw new AppError('tenant_not_allowed', message, { param: 'sluice.tenant' })
  }
  return fields
}

function parse(value: unknown, name: string): SluiceOptions {
  if (typeof value === 'object' && value !== null && 'deliver' in value && value.deliver !== undefined) {
    const param = name === 'sluice' ? 'sluice.deliver' : name
    const message = `${param}: a synchronous call is answered here; deliver is for POST /v1/requests`
    throw new AppError('invalid_line', message, { param })
  }
  const parsed = sluiceOptionsSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const { message, param } = invalidLine(parsed.error)
  const path = name === 'sluice' ? ['sluice', param].filter(Boolean).join('.') : name
  throw new AppError('invalid_line', `${path}: ${message.replace(/^.*?: /, '')}`, { param: path })
}

/** `medium`, or `small..large`, or either end of it alone. */
function tierRange(value: string): object {
  const [min, max] = value.includes('..') ? value.split('..', 2) : [value, value]
  const known = (name: string | undefined) => name === '' || (tierNames as readonly string[]).includes(name ?? '')
  if (!known(min) || !known(max)) {
    throw new AppError(
      'invalid_line',
      `x-sluice-tier: one of ${tierNames.join(', ')}, or a range such as small..medium`,
      {
        param: 'x-sluice-tier',
      },
    )
  }
  return { ...(min === '' ? {} : { min }), ...(max === '' ? {} : { max }) }
}

const list = (value: string): string[] =>
  value
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
