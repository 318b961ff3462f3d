import { createHmac } from 'node:crypto'
import type { Hub } from './event-hubs-namespace.ts'

const tokenLifeMs = 3_600_000
const requestMs = 60_000
const schema = 'http://schemas.microsoft.com/netservices/2010/10/servicebus/connect'

const field = (connectionString: string, name: string): string => {
  const value = new RegExp(`(?:^|;)${name}=([^;]+)`, 'i').exec(connectionString)?.[1]
  if (value === undefined) throw new Error(`the Event Hubs connection string has no ${name}`)
  return value
}

const sasToken = (uri: string, keyName: string, key: string): string => {
  const resource = encodeURIComponent(uri)
  const expiry = Math.floor((Date.now() + tokenLifeMs) / 1000)
  const signature = createHmac('sha256', key).update(`${resource}\n${expiry}`).digest('base64')
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=${keyName}`
}

/**
 * Creates and deletes hubs on the real service, with the namespace's own HTTP API (Atom, api-version 2014-01): Azure
 * Resource Manager would need credentials beside the connection string.
 * https://learn.microsoft.com/rest/api/eventhub/create-event-hub
 */
export const eventHubsAdministration = (connectionString: string) => {
  const host = new URL(field(connectionString, 'Endpoint').replace(/^sb:/i, 'https:')).host
  const [keyName, key] = [field(connectionString, 'SharedAccessKeyName'), field(connectionString, 'SharedAccessKey')]

  const call = async (method: 'PUT' | 'DELETE', path: string, description?: string): Promise<void> => {
    const url = `https://${host}/${path}`
    const response = await fetch(`${url}?timeout=60&api-version=2014-01`, {
      method,
      headers: {
        authorization: sasToken(url, keyName, key),
        'content-type': 'application/atom+xml;type=entry;charset=utf-8',
      },
      ...(description === undefined
        ? {}
        : {
            body: `<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">${description}</content></entry>`,
          }),
      signal: AbortSignal.timeout(requestMs),
    })
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
    await response.body?.cancel()
  }

  return {
    async create(name: string, { PartitionCount, ConsumerGroups = [] }: Hub): Promise<void> {
      await call(
        'PUT',
        name,
        `<EventHubDescription xmlns="${schema}"><MessageRetentionInDays>1</MessageRetentionInDays><PartitionCount>${PartitionCount}</PartitionCount></EventHubDescription>`,
      )
      for (const group of ConsumerGroups)
        await call('PUT', `${name}/consumergroups/${group.Name}`, `<ConsumerGroupDescription xmlns="${schema}"/>`)
    },
    delete: (name: string): Promise<void> => call('DELETE', name),
  }
}
