import type { Deployment, Usage } from '@sluice/contracts'

/** US dollars for tokens at the Batch API's price: half of the online one unless the configuration says otherwise. */
export function batchCostUsd({ price }: Deployment, usage: Usage): number {
  const { input, output } = price.batch ?? { input: price.input / 2, output: price.output / 2 }
  return (usage.input_tokens * input + usage.output_tokens * output) / 1e6
}
