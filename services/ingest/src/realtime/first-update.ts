import type { Clock } from '@sluice/resilience'
import type { WebSocket } from 'ws'
import type { SessionWish } from './choose-deployments.ts'
import type { Frame } from './relay.ts'

/** What came in while the model was not known. */
export interface FirstWords {
  wish: SessionWish
  /** Ends the listening; everything that came until now. Whoever calls it listens from then on. */
  take(): Frame[]
}

// A client may stream speech at once; more than this before a model is known is not a session.
const mostHeldBytes = 1024 * 1024

/**
 * Waits for the first `session.update` of a client that named no model. Many clients wait for `session.created` before
 * they say anything, so the wait is short and silence is an answer.
 * @returns undefined when the client left, or sent too much
 */
export function firstUpdate(client: WebSocket, waitMs: number, clock: Clock): Promise<FirstWords | undefined> {
  const held: Frame[] = []
  let bytes = 0
  return new Promise((resolve) => {
    const settle = (wish: SessionWish | undefined) => {
      timer.cancel()
      client.off('close', leave)
      // What comes from here on waits in the socket, except for frames that were read with the last one.
      client.pause()
      const take = () => {
        client.off('message', hear)
        return held
      }
      resolve(wish && { wish, take })
    }
    const hear = (data: Buffer, isBinary: boolean) => {
      held.push({ data, isBinary })
      bytes += data.byteLength
      if (bytes > mostHeldBytes) return settle(undefined)
      const wish = isBinary ? undefined : wishIn(data)
      if (wish !== undefined) settle(wish)
    }
    const leave = () => settle(undefined)
    const timer = clock.setTimeout(() => settle({}), waitMs)
    client.on('message', hear)
    client.on('close', leave)
  })
}

function wishIn(data: Buffer): SessionWish | undefined {
  try {
    const event = JSON.parse(data.toString('utf8')) as { type?: unknown; session?: Record<string, unknown> | null }
    if (event.type !== 'session.update') return undefined
    const { model, instructions, tools } = event.session ?? {}
    return {
      ...(typeof model === 'string' && model !== '' ? { model } : {}),
      ...(typeof instructions === 'string' ? { instructions } : {}),
      ...(Array.isArray(tools) ? { tools } : {}),
    }
  } catch {
    return undefined
  }
}
