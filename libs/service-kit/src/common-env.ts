import { z } from 'zod'

/**
 * The variables that services share, to be spread into a service's own schema. Of a pair that says "or", the service
 * demands one with `oneOf`. A connection string is for local runs; in Azure the second form uses the managed identity.
 */
export const commonEnv = {
  SERVICE_BUS_CONNECTION_STRING: z.string().optional().describe('or SERVICE_BUS_NAMESPACE'),
  SERVICE_BUS_NAMESPACE: z.string().optional().describe('such as contoso.servicebus.windows.net'),
  COSMOS_ENDPOINT: z.url({ protocol: /^https?$/, error: 'expected an http(s) URL' }),
  COSMOS_KEY: z.string().optional().describe('absent: the managed identity'),
  COSMOS_DATABASE: z.string().default('sluice'),
  AZURE_STORAGE_CONNECTION_STRING: z.string().optional().describe('or AZURE_STORAGE_ACCOUNT_URL'),
  AZURE_STORAGE_ACCOUNT_URL: z.url({ protocol: /^https?$/, error: 'expected an http(s) URL' }).optional(),
  BLOB_CONTAINER: z.string().default('sluice'),
  REDIS_URL: z.url({ protocol: /^rediss?$/, error: 'expected a redis:// or rediss:// URL' }),
  SLUICE_CONFIG: z.string().default('config/sluice.yaml'),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
}
