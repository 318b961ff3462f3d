import { AppError } from '@sluice/errors'

export interface SignalRAddress {
  endpoint: string
  /** Absent with `AuthType=azure`: Microsoft Entra ID speaks for the process. */
  key: string | undefined
}

/** @param text `Endpoint=https://…;AccessKey=…;Version=1.0;` or `Endpoint=https://…;AuthType=azure;`, optionally `Port=…` */
export function parseConnectionString(text: string): SignalRAddress {
  const parts = new Map(
    text.split(';').map((part) => {
      const at = part.indexOf('=')
      return [part.slice(0, at).trim().toLowerCase(), part.slice(at + 1).trim()]
    }),
  )
  const endpoint = parts.get('endpoint')?.replace(/\/$/, '')
  const key = parts.get('accesskey')
  const entra = parts.get('authtype')?.toLowerCase().startsWith('azure') === true
  if (!endpoint || (!key && !entra)) {
    throw new AppError('internal', 'SIGNALR_CONNECTION_STRING needs Endpoint, and AccessKey or AuthType=azure')
  }
  const port = parts.get('port')
  return { endpoint: port ? `${endpoint}:${port}` : endpoint, key: entra ? undefined : key }
}
