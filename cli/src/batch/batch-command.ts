import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { type Connection, connectionFrom, connectionOptions } from '../connection.ts'
import { UsageError } from '../usage-error.ts'
import { type Batch, createBatchApi } from './batch-api.ts'
import { deadlineOf } from './deadline.ts'
import { downloadFile } from './download-file.ts'
import { progressLine, watchStart } from './progress-line.ts'
import { watchBatch } from './watch-batch.ts'

type Env = Readonly<Record<string, string | undefined>>

/** `sluice batch submit | status | cancel | list | download`. @throws UsageError */
export async function batchCommand([name = '', ...args]: string[], env: Env): Promise<void> {
  const command = commands[name]
  if (command === undefined) throw new UsageError(`batch ${Object.keys(commands).join(' | ')}`)
  await command(args, env)
}

const commands: Record<string, (args: string[], env: Env) => Promise<void>> = {
  async submit(args, env) {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        ...connectionOptions,
        deadline: { type: 'string', default: '24h' },
        endpoint: { type: 'string' },
        sticky: { type: 'boolean', default: false },
        webhook: { type: 'string' },
        'per-line-events': { type: 'boolean', default: false },
        'idempotency-key': { type: 'string' },
        watch: { type: 'boolean', default: false },
      },
    })
    const path = only(positionals, 'FILE')
    const { deadline, completion_window } = deadlineOf(values.deadline, Date.now())
    const api = createBatchApi(connectionFrom(values, env), values.sticky)
    const endpoint = values.endpoint ?? (await urlOfFirstLine(path))
    const file = await api.upload(path)
    const { rejected = 0, errors = [] } = file.sluice ?? {}
    if (rejected > 0) process.stderr.write(`${rejected} lines cannot run, the first: ${errors[0]?.message ?? ''}\n`)
    const sluice = {
      deadline,
      ...(values.webhook === undefined ? {} : { deliver: [{ type: 'webhook', url: values.webhook }] }),
      ...(values['per-line-events'] ? { per_line_events: true } : {}),
    }
    const batch = await api.submit(
      { input_file_id: file.id, endpoint, completion_window, sluice },
      values['idempotency-key'],
    )
    process.stdout.write(`${batch.id}\n`)
    if (values.watch) exitBy(await watchBatch(api, batch.id, process.stderr))
  },
  async status(args, env) {
    const { values, id, connection } = withId(args, env)
    const api = createBatchApi(connection)
    if (values.watch) return exitBy(await watchBatch(api, id, process.stderr))
    const batch = await api.get(id)
    if (values.json) return print(JSON.stringify(batch, undefined, 2))
    print(progressLine(batch, watchStart(batch, Date.now()), Date.now()))
    for (const { message } of batch.errors?.data ?? []) print(message)
  },
  async cancel(args, env) {
    const { id, connection } = withId(args, env)
    print((await createBatchApi(connection).cancel(id)).status)
  },
  async list(args, env) {
    const options = { ...connectionOptions, limit: { type: 'string', default: '20' } } as const
    const { values } = parseArgs({ args, options })
    const limit = z.coerce.number().int().min(1).max(100).safeParse(values.limit)
    if (!limit.success) throw new UsageError('--limit: 1 to 100.')
    for (const batch of await createBatchApi(connectionFrom(values, env)).list(limit.data)) {
      const { total, completed, failed } = batch.request_counts
      const created = new Date(batch.created_at * 1000).toISOString()
      print(`${batch.id}  ${created}  ${batch.status.padEnd(11)}  ${completed + failed}/${total}`)
    }
  },
  async download(args, env) {
    const { values, id, connection } = withId(args, env)
    const api = createBatchApi(connection)
    const batch = await api.get(id)
    const fileId = values.errors ? batch.error_file_id : batch.output_file_id
    if (fileId === null || fileId === undefined) {
      throw new UsageError(`${id} is ${batch.status} and has no ${values.errors ? 'error' : 'output'} file.`)
    }
    const out = values.out ?? `${id}.${values.errors ? 'errors' : 'output'}.jsonl`
    await downloadFile(api, fileId, out)
    print(out)
  },
}

function withId(args: string[], env: Env) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...connectionOptions,
      watch: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      errors: { type: 'boolean', default: false },
      out: { type: 'string' },
    },
  })
  const connection: Connection = connectionFrom(values, env)
  return { values, id: only(positionals, 'BATCH'), connection }
}

function only([first, ...more]: string[], name: string): string {
  if (first === undefined || more.length > 0) throw new UsageError(`give one ${name}.`)
  return first
}

/** The lines of a batch have one url: the first one's. */
async function urlOfFirstLine(path: string): Promise<string> {
  const input = createReadStream(path, { encoding: 'utf8' })
  let empty = true
  try {
    for await (const line of createInterface({ input })) {
      if (line.trim() === '') continue
      empty = false
      const parsed = z.looseObject({ url: z.string() }).safeParse(JSON.parse(line.replace(/^\uFEFF/, '')))
      if (parsed.success) return parsed.data.url
      break
    }
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw new UsageError(`${path} cannot be read.`, { cause })
  } finally {
    input.destroy()
  }
  if (empty) throw new UsageError(`${path} is empty.`)
  throw new UsageError(`${path}: its first line names no url; say --endpoint /v1/chat/completions.`)
}

/** A batch that did not complete is an error for whoever scripts this. */
function exitBy({ status }: Batch): void {
  if (status !== 'completed') process.exitCode = 1
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)
