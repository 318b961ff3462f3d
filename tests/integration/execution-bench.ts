import type { Deployment } from '@sluice/contracts'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { at, type ExecutionBench, type Running, type Setup, startExecutionBench } from './execution-fixture.ts'

/** A bench with a model of every kind in two regions, for the whole of a test file; what a test starts ends with it. */
export function useExecutionBench() {
  let bench: ExecutionBench
  let running: Running | undefined
  beforeAll(async () => {
    const resources = ['swedencentral', 'eastus2'].map((name) => ({
      name,
      deployments: [
        { name: 'nano', model: 'phi', context_tokens: 300 },
        { name: 'mini', model: 'gpt-4.1-mini' },
        { name: 'big', model: 'gpt-4.1' },
        {
          name: 'router',
          model: 'model-router',
          kind: 'model-router' as const,
          routes_to: ['gpt-4.1-nano', 'gpt-4.1'],
        },
        { name: 'thinker', model: 'o4-mini' },
        { name: 'embed', model: 'text-embedding-3-small' },
        { name: 'tts', model: 'tts' },
        { name: 'whisper', model: 'whisper' },
      ],
    }))
    bench = await startExecutionBench({ resources })
  })
  afterAll(() => bench.close())
  afterEach(async () => {
    await running?.close()
    running = undefined
  })

  return {
    get twin() {
      return bench.twin
    },
    get redis() {
      return bench.redis
    },
    start: async (deployments: readonly Deployment[], more: Partial<Setup> = {}): Promise<Running> => {
      running = await bench.start({ deployments, ...more })
      return running
    },
    on: (name: string, resource: string, fields: Partial<Deployment> = {}) => at(bench.twin, name, resource, fields),
    /** Whom the twin was called as, one after the other. */
    called: async () => (await bench.twin.calls()).map(({ deployment, resource }) => `${deployment}-${resource}`),
  }
}
