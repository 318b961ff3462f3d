import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface StackSecrets {
  apiKey: string
  webhookSecret: string
  signalrKey: string
  /** Seals the secrets of webhook endpoints. */
  webhookSecretsKey: string
}

/**
 * The local stack's own keys: made once, kept in DIR/secrets.json (readable by its owner only), so that a client that
 * was configured yesterday still works today.
 */
export function stackSecrets(dir: string): StackSecrets {
  const file = join(dir, 'secrets.json')
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<StackSecrets>) : {}
  const secrets: StackSecrets = {
    apiKey: `slk_${randomBytes(24).toString('base64url')}`,
    webhookSecret: `whsec_${randomBytes(32).toString('base64')}`,
    signalrKey: randomBytes(32).toString('base64'),
    webhookSecretsKey: randomBytes(32).toString('base64'),
    // A key that came with a later version is added to those that are there.
    ...kept,
  }
  writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 })
  return secrets
}
