import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { assumeIdle } from '@sluice/admission'
import { loadPlatformConfig } from '@sluice/service-kit'
import { connectBlobs, connectCosmos, connectRedis } from '@sluice/storage'
import { createLogger } from '@sluice/telemetry'
import { twinConfig } from './twin-config.ts'

type Env = Readonly<Record<string, string | undefined>>

/**
 * Creates what the services expect to find in fresh stand-ins: the database and its containers, the blob container, and
 * quotas that count as unused. Doing it again changes nothing. Queues and topics are not made here: the broker reads
 * them from config/service-bus.json.
 * @param env the connections under the names that the services' environment has
 */
export async function provision(env: Env): Promise<void> {
  const cosmos = connectCosmos({
    endpoint: env.COSMOS_ENDPOINT ?? '',
    key: env.COSMOS_KEY,
    database: env.COSMOS_DATABASE ?? 'sluice',
  })
  const blobs = connectBlobs({
    connectionString: env.AZURE_STORAGE_CONNECTION_STRING ?? '',
    container: env.BLOB_CONTAINER ?? 'sluice',
  })
  const redis = connectRedis(env.REDIS_URL ?? '', { logger: createLogger({ service: 'stack', level: 'silent' }) })
  try {
    // The twin has just started: nobody has used its quotas, so they need not ramp up.
    await Promise.all([cosmos.provision(), blobs.provision(), assumeIdle(redis.client)])
  } finally {
    await Promise.all([cosmos.close(), redis.close()])
  }
}

// Run by itself it serves container starts: once for the twin's configuration, once for everything else.
if (import.meta.main) {
  const { values } = parseArgs({ options: { 'twin-config': { type: 'string' } } })
  const file = values['twin-config']
  if (file === undefined) await provision(process.env)
  else {
    const root = fileURLToPath(new URL('../../', import.meta.url))
    const platform = loadPlatformConfig(process.env.SLUICE_CONFIG ?? `${root}config/sluice.yaml`, process.env)
    writeFileSync(file, JSON.stringify(twinConfig(platform, process.env.AZURE_OPENAI_API_KEY ?? '')), { mode: 0o600 })
  }
}
