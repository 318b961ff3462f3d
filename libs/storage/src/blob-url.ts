import {
  type BlobClient,
  BlobSASPermissions,
  type BlobServiceClient,
  type UserDelegationKey,
} from '@azure/storage-blob'

// Signed URLs are checked by the service's clock; Microsoft recommends a start in the past against skew.
const skewMs = 5 * 60_000

const window = (ttlMs: number) => ({
  startsOn: new Date(Date.now() - skewMs),
  expiresOn: new Date(Date.now() + ttlMs),
})

const readOnly = BlobSASPermissions.parse('r')

/** A URL that reads the blob, signed with the account's key. */
export const signWithAccountKey = (blob: BlobClient, ttlMs: number) =>
  blob.generateSasUrl({ permissions: readOnly, ...window(ttlMs) })

/** Without an account key, URLs are signed with a key of the service's own, valid for hours and kept meanwhile. */
export function userDelegationSigner(service: BlobServiceClient) {
  let kept: { key: UserDelegationKey; until: number } | undefined
  return async (blob: BlobClient, ttlMs: number) => {
    const { startsOn, expiresOn } = window(ttlMs)
    if (kept === undefined || kept.until < expiresOn.getTime()) {
      const until = Math.max(expiresOn.getTime(), Date.now() + 6 * 3_600_000)
      kept = { key: await service.getUserDelegationKey(startsOn, new Date(until)), until }
    }
    return blob.generateUserDelegationSasUrl({ permissions: readOnly, startsOn, expiresOn }, kept.key)
  }
}
