import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import type { ReadStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { payloadTooLarge } from '../http/azure-error.ts'
import type { VirtualClock } from '../virtual-clock.ts'
import type { TwinDatabase } from './twin-database.ts'

/** A file as the API shows it, and the resource that it belongs to. */
export interface StoredFile {
  resource: string
  id: string
  object: 'file'
  bytes: number
  created_at: number
  filename: string
  purpose: string
}

export const newId = (prefix: string): string => `${prefix}${randomUUID().replaceAll('-', '')}`

/** Files of all resources: rows in the database, contents on disk, never whole in memory. */
export class FileStore {
  readonly #database: TwinDatabase
  readonly #clock: VirtualClock
  readonly #files = new Map<string, StoredFile>()
  readonly #dataDir: string | undefined
  #folder: string | undefined

  constructor(database: TwinDatabase, clock: VirtualClock, dataDir: string | undefined) {
    this.#database = database
    this.#clock = clock
    this.#dataDir = dataDir
    const rows = database.all('file') as StoredFile[]
    for (const row of rows.sort((left, right) => left.created_at - right.created_at)) this.#files.set(row.id, row)
  }

  pathOf(id: string): string {
    if (this.#folder === undefined) {
      this.#folder =
        this.#dataDir === undefined ? mkdtempSync(join(tmpdir(), 'openai-twin-')) : join(this.#dataDir, 'files')
      mkdirSync(this.#folder, { recursive: true })
    }
    return join(this.#folder, id)
  }

  /** Writes an upload to disk as it arrives; nothing stays of one that breaks off or is too large. */
  async receive(content: AsyncIterable<Buffer>, maxBytes: number): Promise<{ id: string; bytes: number }> {
    const id = newId('file-')
    const path = this.pathOf(id)
    const handle = await open(path, 'w')
    let bytes = 0
    try {
      for await (const chunk of content) {
        bytes += chunk.byteLength
        if (bytes > maxBytes) throw payloadTooLarge(maxBytes)
        await handle.write(chunk)
      }
    } catch (error) {
      await handle.close()
      await rm(path, { force: true })
      throw error
    }
    await handle.close()
    return { id, bytes }
  }

  /** Makes a file whose content is on disk visible. */
  register(
    resource: string,
    { id, bytes }: { id: string; bytes: number },
    filename: string,
    purpose: string,
  ): StoredFile {
    const createdAt = Math.floor(this.#clock.now() / 1000)
    const file: StoredFile = { resource, id, object: 'file', bytes, created_at: createdAt, filename, purpose }
    this.#files.set(id, file)
    this.#database.put('file', id, file)
    return file
  }

  /** Throws away content that never became a file. */
  discard(id: string): Promise<void> {
    return rm(this.pathOf(id), { force: true })
  }

  get(resource: string, id: string): StoredFile | undefined {
    const file = this.#files.get(id)
    return file?.resource === resource ? file : undefined
  }

  list(resource: string): StoredFile[] {
    return [...this.#files.values()].filter((file) => file.resource === resource)
  }

  async delete(file: StoredFile): Promise<void> {
    this.#files.delete(file.id)
    this.#database.delete('file', file.id)
    await this.discard(file.id)
  }

  read(id: string, from = 0): ReadStream {
    const content = createReadStream(this.pathOf(id), { start: from })
    // A file that is deleted before anybody reads must not end the process; whoever reads still gets the error.
    content.on('error', () => undefined)
    return content
  }

  async clear(): Promise<void> {
    for (const file of this.#files.values()) await this.delete(file)
  }

  /** Without a data folder, contents go with the twin. */
  close(): void {
    if (this.#dataDir === undefined && this.#folder !== undefined)
      rmSync(this.#folder, { recursive: true, force: true })
  }
}
