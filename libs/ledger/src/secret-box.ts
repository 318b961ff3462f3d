import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { AppError } from '@sluice/errors'

/** A secret as it is stored: which key sealed it, and base64 of nonce, ciphertext and tag. */
export interface SealedSecret {
  key_id: string
  sealed: string
}

/** Seals what must be stored and read again. `context` binds a secret to its place: moved elsewhere it does not open. */
export interface SecretBox {
  /** @throws AppError `not_configured` without a key */
  seal(secret: string, context: string): SealedSecret
  /** @throws AppError `not_configured` for a key that is not there, `internal` for a secret that was tampered with */
  open(sealed: SealedSecret, context: string): string
}

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

const keyIdOf = (key: Buffer) => createHash('sha256').update(key).digest('hex').slice(0, 8)

/**
 * AES-256-GCM under keys from the environment: the first one seals, all of them open, so that a key is replaced by
 * putting the new one in front.
 * @param keys base64 of 32 bytes each @throws RangeError for a key of another length
 */
export function createSecretBox(keys: readonly string[]): SecretBox {
  const known = new Map(
    keys.map((text) => {
      const key = Buffer.from(text, 'base64')
      if (key.length !== keyBytes) throw new RangeError(`a key for secrets has ${keyBytes} bytes, not ${key.length}`)
      return [keyIdOf(key), key] as const
    }),
  )
  const [first] = known
  return {
    seal(secret, context) {
      if (first === undefined) throw missing()
      const [key_id, key] = first
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()])
      return { key_id, sealed: Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64') }
    },
    open({ key_id, sealed }, context) {
      const key = known.get(key_id)
      if (key === undefined) throw missing()
      const bytes = Buffer.from(sealed, 'base64')
      try {
        const nonce = bytes.subarray(0, nonceBytes)
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
        decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-tagBytes))
        return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]).toString(
          'utf8',
        )
      } catch (cause) {
        throw new AppError('internal', 'a stored secret does not open', { cause })
      }
    },
  }
}

const missing = () =>
  new AppError('not_configured', 'This installation has no key for webhook secrets (WEBHOOK_SECRETS_KEY).')
