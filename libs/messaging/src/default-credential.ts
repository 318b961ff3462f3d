import type { DefaultAzureCredential } from '@azure/identity'

/** What the SDKs take for a token source; @azure/identity's credentials fit. */
export type TokenCredential = Pick<DefaultAzureCredential, 'getToken'>

/**
 * The machine's own identity. @azure/identity takes longer to load than the rest of a service together, so it is loaded
 * at the first token: never, when a connection string is used.
 */
export function defaultCredential(): TokenCredential {
  let loaded: Promise<DefaultAzureCredential> | undefined
  return {
    getToken: async (scopes, options) => {
      loaded ??= import('@azure/identity').then((identity) => new identity.DefaultAzureCredential())
      return (await loaded).getToken(scopes, options)
    },
  }
}
