import { expect, test } from 'vitest'
import { z } from 'zod'
import { commonEnv, ConfigError, oneOf, readEnv } from './index.ts'

const schema = z
  .object({ ...commonEnv, PORT: z.coerce.number().int().default(8080) })
  .check(oneOf('SERVICE_BUS_CONNECTION_STRING', 'SERVICE_BUS_NAMESPACE'))

const enough = {
  SERVICE_BUS_CONNECTION_STRING: 'Endpoint=sb://localhost:1;SharedAccessKeyName=x;SharedAccessKey=hunter2',
  COSMOS_ENDPOINT: 'http://127.0.0.1:8081',
  REDIS_URL: 'redis://127.0.0.1:6379',
}

const problemsOf = (env: Record<string, string>): readonly string[] => {
  try {
    readEnv(schema, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

test('defaults fill what is absent, and an empty variable is absent', () => {
  expect(readEnv(schema, { ...enough, COSMOS_DATABASE: '', PORT: '' })).toMatchObject({
    COSMOS_DATABASE: 'sluice',
    BLOB_CONTAINER: 'sluice',
    SLUICE_CONFIG: 'config/sluice.yaml',
    LOG_LEVEL: 'info',
    PORT: 8080,
  })
})

test('every problem is one sentence naming its variable, all of them at once', () => {
  expect(problemsOf({ COSMOS_ENDPOINT: 'not a url', LOG_LEVEL: 'loud', PORT: 'eighty' })).toEqual([
    'COSMOS_ENDPOINT: expected an http(s) URL',
    'REDIS_URL is not set',
    expect.stringMatching(/^LOG_LEVEL: /),
    expect.stringMatching(/^PORT: /),
    'set one of SERVICE_BUS_CONNECTION_STRING, SERVICE_BUS_NAMESPACE',
  ])
})

test('no problem quotes a value', () => {
  const problems = problemsOf({
    ...enough,
    COSMOS_ENDPOINT: 'hunter2',
    REDIS_URL: 'http://:hunter2@x',
    LOG_LEVEL: 'hunter2',
  })
  expect(problems).toHaveLength(3)
  expect(problems.join()).not.toContain('hunter2')
})
