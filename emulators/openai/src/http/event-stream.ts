import type { Exchange } from './exchange.ts'
import type { ModelRun } from '../model/run-model.ts'

/** One server-sent event and the number of output tokens that must exist before it can be sent. */
export interface StreamEvent {
  text: string
  afterTokens: number
}

/**
 * Sends events when their tokens are due. Due times are absolute, so that a late timer sends what piled up instead of
 * shifting the rest; without latency everything leaves in one write.
 */
export async function streamEvents(exchange: Exchange, events: readonly StreamEvent[], run: ModelRun): Promise<void> {
  exchange.startStream('text/event-stream; charset=utf-8')
  const startedAt = performance.now()
  const dueAt = (event: StreamEvent): number =>
    event.afterTokens === 0 ? 0 : run.firstTokenMs + (event.afterTokens - 1) * run.perTokenMs
  let next = 0
  while (next < events.length) {
    const elapsed = performance.now() - startedAt
    let batch = ''
    let count = 0
    for (let event = events[next]; event && dueAt(event) <= elapsed; event = events[next]) {
      batch += event.text
      count++
      next++
      if (exchange.eventByEvent) break
    }
    if (count > 0) await exchange.write(batch, count)
    const waiting = events[next]
    if (waiting && !exchange.eventByEvent)
      await exchange.delay(Math.max(0, dueAt(waiting) - (performance.now() - startedAt)))
    else if (waiting) await exchange.delay(Math.max(0, dueAt(waiting) - elapsed))
  }
  exchange.end()
}
