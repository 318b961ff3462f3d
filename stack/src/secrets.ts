import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface StackSecrets {
  apiKey: string
  webhookSecret: string
  signalrKey: string
}

/**
 * The local stack's own keys: made once, kept in DIR/secrets.json (readable by its owner only), so that a client that
 * was configured yesterday still works today.
 */
export function stackSecrets(dir: string): StackSecrets {
  const file = join(dir, 'secrets.json')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as StackSecrets
  const secrets: StackSecrets = {
    apiKey: `slk_${randomBytes(24).toString('base64url')}`,
    webhookSecret: `whsec_${randomBytes(32).toString('base64')}`,
    signalrKey: randomBytes(32).toString('base64'),
  }
  writeFileSync(file, JSON.stringify(secrets), { mode: 0o600 })
  return secrets
}
