import type { TokenCredential } from '@azure/identity'

/**
 * Azure's default credential chain, loaded with the first token: local runs use keys, and @azure/identity costs a
 * service most of its start-up time.
 */
export function azureCredential(): TokenCredential {
  let chain: Promise<TokenCredential> | undefined
  return {
    async getToken(scopes, options) {
      chain ??= import('@azure/identity').then(({ DefaultAzureCredential }) => new DefaultAzureCredential())
      return (await chain).getToken(scopes, options)
    },
  }
}
