import { parseArgs } from 'node:util'
import { apiKeyRow, type ApiKeyRow, type KeyScope, keyScopes, newApiKey, tenantSchema } from '@sluice/contracts'
import { z } from 'zod'
import { callIngest, readJson } from './call-ingest.ts'
import { type Connection, connectionFrom, connectionOptions } from './connection.ts'
import { UsageError } from './usage-error.ts'

type Env = Readonly<Record<string, string | undefined>>

const keySchema = z.looseObject({
  id: z.string(),
  tenant: z.string(),
  name: z.string().nullable(),
  scopes: z.array(z.string()),
  platform: z.boolean(),
  disabled: z.boolean(),
  expires_at: z.string().nullable(),
  key: z.string().optional(),
})
type Key = z.infer<typeof keySchema>

/** `sluice keys create | list | rotate | disable | enable | delete`. @throws UsageError */
export async function keysCommand([name = '', ...args]: string[], env: Env): Promise<void> {
  const command = commands[name]
  if (command === undefined) throw new UsageError(`keys ${Object.keys(commands).join(' | ')}`)
  await command(args, env)
}

const commands: Record<string, (args: string[], env: Env) => Promise<void>> = {
  async create(args, env) {
    const { values } = parseArgs({
      args,
      options: {
        ...connectionOptions,
        tenant: { type: 'string' },
        scopes: { type: 'string', default: 'submit,read' },
        name: { type: 'string' },
        expires: { type: 'string' },
        platform: { type: 'boolean', default: false },
        direct: { type: 'boolean', default: false },
      },
    })
    const fields = {
      tenant: tenantOf(values.tenant),
      scopes: scopesOf(values.scopes),
      ...(values.name === undefined ? {} : { name: values.name }),
      ...(values.expires === undefined ? {} : { expires_at: timeOf(values.expires) }),
      ...(values.platform ? { platform: true } : {}),
    }
    if (values.direct) return print(await store(fields, env))
    const json = await call(connectionFrom(values, env), 'POST', '/v1/keys', fields)
    print((await readJson(keySchema.required(), json)).key)
  },
  async list(args, env) {
    const { values } = parseArgs({ args, options: { ...connectionOptions, tenant: { type: 'string' } } })
    const query = values.tenant === undefined ? '' : `?tenant=${encodeURIComponent(values.tenant)}`
    const answer = await callIngest(connectionFrom(values, env), `/v1/keys${query}`)
    const { data } = await readJson(z.object({ data: z.array(keySchema) }), answer)
    for (const key of data) print(lineOf(key))
  },
  async rotate(args, env) {
    const options = { ...connectionOptions, overlap: { type: 'string', default: '86400' } } as const
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    const overlap = z.coerce.number().int().nonnegative().safeParse(values.overlap)
    if (!overlap.success) throw new UsageError('--overlap: seconds.')
    const path = `/v1/keys/${idOf(positionals)}/rotate`
    const answer = await call(connectionFrom(values, env), 'POST', path, { overlap_seconds: overlap.data })
    print((await readJson(keySchema.required(), answer)).key)
  },
  disable: (args, env) => update(args, env, { disabled: true }),
  enable: (args, env) => update(args, env, { disabled: false }),
  async delete(args, env) {
    const { values, positionals } = parseArgs({ args, options: connectionOptions, allowPositionals: true })
    await callIngest(connectionFrom(values, env), `/v1/keys/${idOf(positionals)}`, { method: 'DELETE' })
  },
}

async function update(args: string[], env: Env, fields: object): Promise<void> {
  const { values, positionals } = parseArgs({ args, options: connectionOptions, allowPositionals: true })
  const answer = await call(connectionFrom(values, env), 'PATCH', `/v1/keys/${idOf(positionals)}`, fields)
  print(lineOf(await readJson(keySchema, answer)))
}

const call = (connection: Connection, method: string, path: string, body: object): Promise<Response> =>
  callIngest(connection, path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })

/** Writes the row into the database itself: how the first key comes to be where nobody has one yet. */
async function store(fields: Parameters<typeof apiKeyRow>[1], env: Env): Promise<string> {
  const endpoint = env.COSMOS_ENDPOINT
  if (endpoint === undefined || !URL.canParse(endpoint)) {
    throw new UsageError('--direct needs COSMOS_ENDPOINT, and COSMOS_KEY unless your own identity may write.')
  }
  // Azure's SDKs take a second to load, which no other command should pay for.
  const { connectCosmos } = await import('@sluice/storage')
  const cosmos = connectCosmos({ endpoint, key: env.COSMOS_KEY, database: env.COSMOS_DATABASE ?? 'sluice' })
  try {
    const key = newApiKey()
    await cosmos.rows<ApiKeyRow>('keys').create(apiKeyRow(key, fields, Date.now()))
    return key
  } catch (cause) {
    throw new UsageError(`the key could not be stored: ${(cause as Error).message}`, { cause })
  } finally {
    await cosmos.close()
  }
}

function tenantOf(text: string | undefined): string {
  const tenant = tenantSchema.safeParse(text)
  if (tenant.success) return tenant.data
  throw new UsageError('--tenant: whose key it is, 1 to 63 letters, digits, dots, dashes or underscores.')
}

function scopesOf(text: string): KeyScope[] {
  const scopes = z.array(z.enum(keyScopes)).min(1).safeParse(text.split(','))
  if (scopes.success) return scopes.data
  throw new UsageError(`--scopes: some of ${keyScopes.join(', ')}, separated by commas.`)
}

function timeOf(text: string): string {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new UsageError('--expires: a time such as 2027-01-31T12:00:00Z.')
  return new Date(time).toISOString()
}

function idOf(positionals: string[]): string {
  const [id] = positionals
  if (id === undefined || positionals.length > 1) throw new UsageError('name one key, as `sluice keys list` shows it.')
  return encodeURIComponent(id)
}

const lineOf = ({ id, tenant, name, scopes, platform, disabled, expires_at }: Key): string =>
  [
    ...[id, tenant.padEnd(12), (platform ? 'platform' : scopes.join(',')).padEnd(12)],
    ...[disabled ? 'disabled' : (expires_at ?? 'for ever').padEnd(8), name ?? ''],
  ]
    .join('  ')
    .trimEnd()

const print = (line: string): void => void process.stdout.write(`${line}\n`)
