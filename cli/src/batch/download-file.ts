import { createWriteStream } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { UsageError } from '../usage-error.ts'
import type { BatchApi } from './batch-api.ts'

const tries = 5
/** A download that does not move for this long is begun again where it stopped. */
const stallMs = 30_000

/**
 * Writes a file of ingest's to `out`, over `<out>.<file>.part`. What an earlier call for the same file left there is kept,
 * and the download goes on behind it.
 * @throws UsageError
 */
export async function downloadFile(api: BatchApi, fileId: string, out: string): Promise<void> {
  const part = `${out}.${fileId}.part`
  for (let attempt = 1; ; attempt++) {
    const from = await stat(part).then(
      ({ size }) => size,
      () => 0,
    )
    const stalled = new AbortController()
    const timer = setTimeout(() => stalled.abort(), stallMs)
    try {
      const answer = await api.content(fileId, from, stalled.signal)
      if (answer?.body) {
        const counted = Readable.fromWeb(answer.body)
        counted.on('data', () => timer.refresh())
        await pipeline(counted, createWriteStream(part, { flags: from === 0 ? 'w' : 'a' }))
      }
      await rename(part, out)
      return
    } catch (error) {
      if (error instanceof UsageError || attempt === tries) {
        throw new UsageError(`${out}: ${(error as Error).message} Run the command again to go on.`, { cause: error })
      }
    } finally {
      clearTimeout(timer)
    }
  }
}
