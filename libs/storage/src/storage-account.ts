/** The half of BlobsOptions that names the account, from a service's environment; exactly one form is needed. */
export function storageAccount(env: {
  AZURE_STORAGE_CONNECTION_STRING?: string | undefined
  AZURE_STORAGE_ACCOUNT_URL?: string | undefined
}): { connectionString: string } | { accountUrl: string } {
  const { AZURE_STORAGE_CONNECTION_STRING: connectionString, AZURE_STORAGE_ACCOUNT_URL: accountUrl } = env
  if (connectionString !== undefined) return { connectionString }
  if (accountUrl !== undefined) return { accountUrl }
  throw new TypeError('set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_URL')
}
