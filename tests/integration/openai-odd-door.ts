import type { IncomingMessage, ServerResponse } from 'node:http'
import { deploymentOn } from './model-twin.ts'
import { type Door, type DoorFixture, type DoorOptions, startOddUpstream } from './openai-door-fixture.ts'

export const events = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'text/event-stream' })
export const chunkOf = (delta: object, more: object = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null }], ...more })}\n\n`
export const role = chunkOf({ role: 'assistant', content: '' })
export const hello = chunkOf({ content: 'hello' })

let serial = 0

/** A door whose first deployment is the odd upstream, and whose second, when asked for, is the twin's. */
export async function openOddDoor(
  fixture: DoorFixture,
  closing: { close(): Promise<void> }[],
  listener: (request: IncomingMessage, response: ServerResponse) => void,
  options: DoorOptions & { second?: boolean; timeout_ms?: number } = {},
): Promise<Door> {
  const upstream = await startOddUpstream((request, response) => {
    request.resume()
    listener(request, response)
  })
  const { second = false, timeout_ms = 30_000, ...more } = options
  // Breakers are shared over Redis: each door's deployments have names of their own.
  const name = (kind: string) => `${kind}-${++serial}`
  const door = await fixture.open({
    ...more,
    deployments: (twin) => [
      // Provisioned capacity goes first.
      deploymentOn(twin, name('odd'), { endpoint: upstream.endpoint, kind: 'ptu', timeout_ms, max_concurrency: 1_000 }),
      ...(second ? [deploymentOn(twin, name('sound'), { azure_name: 'gpt' })] : []),
    ],
  })
  closing.push(door, upstream)
  return door
}
