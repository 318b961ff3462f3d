import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import type { Offer } from './offered-load.ts'

/**
 * What many do instead: a pool of callers over the deployments in turn, first come first served, with the SDK's own
 * retries; what they cannot get through goes to the end of the queue. Ends when everything is served or at `untilMs`.
 */
export async function naivePool(options: {
  offers: readonly Offer[]
  targets: readonly { baseURL: string; model: string }[]
  apiKey: string
  callers: number
  untilMs: number
}): Promise<{ startedAt: number }> {
  const clients = options.targets.map(({ baseURL, model }) => ({
    openai: new OpenAI({ apiKey: options.apiKey, baseURL }),
    model,
  }))
  const stop = AbortSignal.timeout(options.untilMs)
  const queue: Offer[] = []
  const startedAt = Date.now()
  let [turn, left] = [0, options.offers.length]

  const arrive = async () => {
    for (const offer of options.offers) {
      const ahead = startedAt + offer.atMs - Date.now()
      if (ahead > 0) await sleep(ahead)
      queue.push(offer)
    }
  }
  const caller = async () => {
    while (left > 0 && !stop.aborted) {
      const offer = queue.shift()
      const client = clients[turn++ % clients.length]
      if (offer === undefined || client === undefined) {
        await sleep(5)
        continue
      }
      const { messages, max_tokens } = offer.body as unknown as { messages: []; max_tokens: number }
      const headers = { 'x-ms-client-request-id': offer.key }
      try {
        await client.openai.chat.completions.create(
          { model: client.model, messages, max_tokens },
          { headers, signal: stop },
        )
        left--
      } catch {
        queue.push(offer)
      }
    }
  }
  await Promise.all([arrive(), ...Array.from({ length: options.callers }, caller)])
  return { startedAt }
}
