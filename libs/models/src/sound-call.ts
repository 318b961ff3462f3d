import type { Deployment } from '@sluice/contracts'
import { AppError } from '@sluice/errors'
import type { ForwardCall, ForwardClient, ForwardController } from './forward-client.ts'
import { connectionFailure, refusal } from './forward-error.ts'

/** An answer of an audio endpoint: JSON, a text such as subtitles, or sound. */
export interface SoundAnswer {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  contentType: string
  bytes: Buffer
}

// The longest text that speech is made of takes minutes to say, uncompressed some 15 MB.
const maxAnswerBytes = 32 * 1024 * 1024
const maxErrorBytes = 64 * 1024

/**
 * Calls an audio endpoint, whose bodies and answers need not be JSON.
 * @throws AppError as other calls do; what reading the upload throws; the signal's reason
 */
export function soundCall(
  client: ForwardClient,
  deployment: Deployment,
  call: ForwardCall,
  signal: AbortSignal,
): Promise<SoundAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    let status = 0
    let headers: SoundAnswer['headers'] = {}
    let controller: ForwardController | undefined
    const fail = (error: unknown) => {
      signal.removeEventListener('abort', onAbort)
      reject(error)
      controller?.abort(gone)
    }
    const onAbort = () => fail(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort)

    client.send(deployment, call, {
      onRequestStart(started) {
        controller = started
        if (signal.aborted) started.abort(gone)
      },
      onResponseStart(_, code, fields) {
        status = code
        headers = fields
      },
      onResponseData(_, chunk) {
        bytes += chunk.length
        if (status < 300 && bytes > maxAnswerBytes) {
          return fail(new AppError('model_rejected', `${deployment.name} answered more than ${maxAnswerBytes} bytes.`))
        }
        if (status < 300 || bytes <= maxErrorBytes) chunks.push(chunk)
      },
      onResponseEnd() {
        signal.removeEventListener('abort', onAbort)
        const body = Buffer.concat(chunks)
        if (status >= 300) return reject(refusal(deployment.name, status, headers, body))
        const type = headers['content-type']
        resolve({
          status,
          headers,
          contentType: typeof type === 'string' ? type : 'application/octet-stream',
          bytes: body,
        })
      },
      onResponseError(_, thrown) {
        // The upload may be what failed, and it knows why.
        fail(thrown instanceof AppError ? thrown : connectionFailure(deployment.name, thrown))
      },
    })
  })
}

const gone = new Error('the call was given up')
