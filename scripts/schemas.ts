import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { jsonSchemas } from '@sluice/contracts'

// Writes the wire shapes as JSON Schemas; a test fails when the files are not what this would write.
const dir = fileURLToPath(new URL('../docs/schemas/', import.meta.url))
mkdirSync(dir, { recursive: true })
for (const [name, schema] of Object.entries(jsonSchemas())) {
  writeFileSync(`${dir}${name}.schema.json`, `${JSON.stringify(schema, null, 2)}\n`)
}
