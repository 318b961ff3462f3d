import type { Logger } from '@sluice/telemetry'

/**
 * Closes things in order: what receives first, then what works, then what is connected. A step that fails is logged and
 * does not keep the later ones from running, because each of them holds something that must be given back.
 */
export async function drainAll(
  steps: readonly (readonly [name: string, step: () => Promise<unknown>])[],
  logger: Logger,
): Promise<void> {
  for (const [name, step] of steps) {
    try {
      await step()
    } catch (err) {
      logger.error({ err, step: name }, 'a step of the shutdown failed')
    }
  }
}
