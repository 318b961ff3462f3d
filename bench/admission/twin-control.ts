/** A call as the twin's log shows it; times are epoch ms. */
export interface TwinCall {
  index: number
  at: number
  resource: string
  deployment: string | null
  status: number
  outcome: 'ok' | 'refused' | 'failed' | 'aborted' | 'dropped' | 'open'
  estimated_tokens: number
  client_request_id: string | null
}

export interface TwinDeployment {
  resource: string
  settings: { name: string; tokens_per_minute: number }
  window_ms: number
  windows: { startedAt: number; accepted: number; refused: number }[]
}

/** The twin's control API. */
export function twinControl(url: string) {
  const ask = async <T>(path: string, body?: object): Promise<T> => {
    const answer = await fetch(`${url}/_control/${path}`, {
      ...(body === undefined
        ? {}
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    })
    if (!answer.ok) throw new Error(`the twin answered ${path} with ${answer.status}: ${await answer.text()}`)
    return (await answer.json()) as T
  }
  return {
    reset: () => ask('reset', {}),
    setLatency: (resource: string, deployment: string, latency: object) =>
      ask('deployments', { resource, deployment, settings: { latency } }),
    deployments: async () => (await ask<{ deployments: TwinDeployment[] }>('state')).deployments,
    /** Every call that has arrived so far, oldest first. */
    async calls(): Promise<TwinCall[]> {
      const all: TwinCall[] = []
      for (;;) {
        const { calls, missed } = await ask<{ calls: TwinCall[]; missed: number }>(
          `calls?from=${all.length}&limit=1000`,
        )
        if (missed > 0) throw new Error(`the twin's log has lost ${missed} calls`)
        if (calls.length === 0) return all
        all.push(...calls)
      }
    },
  }
}

export type TwinControl = ReturnType<typeof twinControl>
