import { AppError } from '@sluice/errors'

// A proxy may decode a name once more than it should: an encoded dot, slash or backslash is as good as a plain one.
const hostile = /%(?:2e|2f|5c|25|00)|\\|\p{Cc}/iu

/**
 * Refuses a blob name that does not lie under the tenant's own prefix, whichever way the path is written.
 * @throws AppError `body_ref_not_found`: another tenant's blob is as good as none.
 */
export function checkBlobName(tenant: string, name: string): void {
  const segments = name.split('/')
  const own = segments.length > 1 && segments[0] === tenant
  const plain = segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..')
  if (own && plain && !hostile.test(name) && name.length <= 1024) return
  throw new AppError('body_ref_not_found', `body_ref.blob: no such blob under ${tenant}/`, { param: 'body_ref.blob' })
}
