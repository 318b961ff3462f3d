import { z } from 'zod'

/** Who may call the HTTP door besides API keys, and from where. */
export const accessConfigSchema = z.strictObject({
  cors_origins: z.array(z.string()).default([]).describe('origins that browsers may call from; `*` for every one'),
  key_in_query: z.boolean().default(false).describe('whether ?key= on the realtime WebSocket may be an API key'),
  entra: z
    .strictObject({
      issuer: z.url(),
      audience: z.string().min(1),
      jwks_uri: z.url().optional().describe("the issuer's discovery document names it unless given"),
      clock_skew_seconds: z.int().nonnegative().max(600).default(60),
      tenants: z
        .record(z.string(), z.string())
        .describe('application id (azp or appid) or group id → the Sluice tenant that it acts for'),
      scopes: z
        .record(z.string(), z.array(z.enum(['submit', 'read', 'admin'])))
        .default({})
        .describe('app role → scopes'),
    })
    .optional(),
})
export type AccessConfig = z.infer<typeof accessConfigSchema>
