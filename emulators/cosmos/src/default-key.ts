import { createHash } from 'node:crypto'

/** The emulator's well-known account key: 64 bytes, base64. Not a secret; it guards nothing but a local emulator. */
export const defaultKey: string = createHash('sha512').update('sluice cosmos emulator account key').digest('base64')
