import type { Cosmos } from '@sluice/storage'
import type { FileRow } from './batch-row.ts'

export type FileStore = ReturnType<typeof createFileStore>

/** The rows of files. */
export function createFileStore({ cosmos }: { cosmos: Cosmos }) {
  const rows = cosmos.rows<FileRow>('files')
  return {
    create: (row: FileRow): Promise<boolean> => rows.create(row),
    get: (tenant: string, id: string): Promise<FileRow | undefined> => rows.read(id, [tenant, id]),
    remove: (tenant: string, id: string): Promise<boolean> => rows.remove(id, [tenant, id]),
    list: (
      tenant: string,
      limit: number,
      { purpose, after }: { purpose?: string | undefined; after?: FileRow | undefined },
    ): Promise<FileRow[]> =>
      rows.query({
        sql:
          'SELECT * FROM c WHERE c.tenant = @tenant ' +
          (purpose === undefined ? '' : 'AND c.purpose = @purpose ') +
          (after === undefined ? '' : 'AND (c.created_at < @at OR (c.created_at = @at AND c.id < @id)) ') +
          'ORDER BY c.tenant ASC, c.created_at DESC, c.id DESC',
        parameters: {
          tenant,
          ...(purpose === undefined ? {} : { purpose }),
          ...(after === undefined ? {} : { at: after.created_at, id: after.id }),
        },
        limit,
      }),
  }
}
