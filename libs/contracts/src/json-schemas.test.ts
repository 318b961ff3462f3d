import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { jsonSchemas } from './json-schemas.ts'

const dir = fileURLToPath(new URL('../../../docs/schemas/', import.meta.url))

test('docs/schemas holds exactly what the shapes say (npm run schemas writes it)', () => {
  const written = Object.fromEntries(
    readdirSync(dir).map((file) => [
      file.replace('.schema.json', ''),
      JSON.parse(readFileSync(`${dir}${file}`, 'utf8')) as unknown,
    ]),
  )
  expect(written).toEqual(JSON.parse(JSON.stringify(jsonSchemas())))
})
