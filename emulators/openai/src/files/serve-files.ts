import { invalidRequest, notFound, resourceNotFound } from '../http/azure-error.ts'
import type { Exchange } from '../http/exchange.ts'
import { missing } from '../http/request-fields.ts'
import type { StoredFile } from './file-store.ts'
import { listPage } from './list-page.ts'
import { readForm } from './multipart.ts'

const purposes = ['batch', 'fine-tune', 'assistants', 'user_data', 'vision', 'evals']

const shown = ({ resource: _resource, ...file }: StoredFile): object => ({
  ...file,
  status: 'processed',
  status_details: null,
})

async function upload(exchange: Exchange): Promise<void> {
  const { twin, resource, req } = exchange
  const { fields, file } = await readForm(req, async (part) => ({
    filename: part.filename ?? 'upload',
    stored: await twin.files.receive(part.content, resource.settings.max_file_bytes),
  }))
  const purpose = fields.get('purpose')
  if (file && purpose !== undefined && purposes.includes(purpose)) {
    return exchange.json(shown(twin.files.register(resource.settings.name, file.stored, file.filename, purpose)))
  }
  if (file) await twin.files.discard(file.stored.id)
  else throw missing('file')
  if (purpose === undefined) throw missing('purpose')
  throw invalidRequest(
    `Invalid value for purpose: '${purpose}'. Supported values are: ${purposes.map((name) => `'${name}'`).join(', ')}.`,
    'purpose',
    'invalidPayload',
  )
}

async function sendContent(exchange: Exchange, file: StoredFile): Promise<void> {
  exchange.startStream('application/octet-stream', ['content-length', String(file.bytes)])
  const content = exchange.twin.files.read(file.id)
  try {
    for await (const chunk of content) await exchange.write(chunk as Buffer)
  } finally {
    content.destroy()
  }
  exchange.end()
}

/** The five operations on files: upload, list, retrieve, content, delete. A file of another resource does not exist. */
export async function serveFiles(exchange: Exchange, path: readonly string[], query: URLSearchParams): Promise<void> {
  await exchange.meet(undefined)
  const { twin, resource, req } = exchange
  const [, id, part] = path
  if (id === undefined) {
    if (req.method === 'POST') return upload(exchange)
    if (req.method !== 'GET') throw resourceNotFound()
    const purpose = query.get('purpose')
    const files = twin.files.list(resource.settings.name).filter((file) => purpose === null || file.purpose === purpose)
    return exchange.json(listPage(files, query, shown))
  }
  const file = twin.files.get(resource.settings.name, id)
  if (!file) throw notFound(`No such File object: ${id}`)
  if (part === 'content' && req.method === 'GET') return sendContent(exchange, file)
  if (part !== undefined) throw resourceNotFound()
  if (req.method === 'DELETE') {
    await twin.files.delete(file)
    return exchange.json({ id, object: 'file', deleted: true })
  }
  if (req.method !== 'GET') throw resourceNotFound()
  return exchange.json(shown(file))
}
