import type { DatabaseSync } from 'node:sqlite'
import { pathSteps } from '../partition-key.ts'
import type { ContainerDefinition } from './container-definition.ts'
import { jsonPath } from './json-path.ts'

/** The table and the indexes that do not depend on what is read. */
export const createItemTable = (database: DatabaseSync, table: string, definition: ContainerDefinition): void => {
  database.exec(`CREATE TABLE IF NOT EXISTS ${table} (
    seq INTEGER PRIMARY KEY, pk TEXT NOT NULL, id TEXT NOT NULL, lsn INTEGER NOT NULL, ts INTEGER NOT NULL,
    ttl INTEGER, expires INTEGER, body TEXT NOT NULL)`)
  for (const [index, key] of definition.uniqueKeyPolicy.uniqueKeys.entries()) {
    // A missing property counts as null, so one item per partition may lack it. `->` yields JSON text: 1 and "1" differ.
    const columns = key.paths.map((path) => `ifnull(body -> ${jsonPath(pathSteps(path))}, 'null')`)
    database.exec(
      `CREATE UNIQUE INDEX IF NOT EXISTS unique_key_${table}_${index} ON ${table} (pk, ${columns.join(', ')})`,
    )
  }
  database.exec(`CREATE INDEX IF NOT EXISTS ${table}_expires ON ${table} (expires) WHERE expires IS NOT NULL`)
  database.exec(`CREATE UNIQUE INDEX IF NOT EXISTS ${table}_id ON ${table} (pk, id)`)
}
