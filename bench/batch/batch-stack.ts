import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { type LocalStack, startLocalStack } from '../../stack/src/local-stack.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const regions = ['swedencentral', 'eastus2', 'westeurope'] as const

export interface BatchStack extends LocalStack {
  /** Calls ingest with the stack's key. @throws when it does not answer 2xx */
  api<T>(path: string, init?: RequestInit): Promise<T>
  /** Calls the twin's control API. */
  twin<T>(path: string, body?: object): Promise<T>
}

/**
 * A stack with one model in three regions, whose quotas bind where batches are concerned and nowhere else.
 * @param lines of the largest file, which is to be run in some forty parts
 */
export async function startBatchStack(durable: boolean, lines: number): Promise<BatchStack> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const configFile = join(dir, 'sluice.yaml')
  writeFileSync(configFile, stringify(configOf(Math.max(50, lines / 40))))
  const stack = await startLocalStack({
    localDir: dir,
    dataDir: durable ? join(dir, 'data') : undefined,
    port: 0,
    configFile,
    env: { LOG_LEVEL: 'error' },
    report: (event) => {
      if (event.kind === 'note' || /"level":"(error|fatal)"/.test(event.line)) {
        console.error(event.name, event.kind === 'note' ? event.note : event.line.slice(0, 300))
      }
    },
  })
  const call = async <T>(url: string, init: RequestInit): Promise<T> => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(120_000), ...init })
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${(await answer.text()).slice(0, 300)}`)
    return (await answer.json()) as T
  }
  return {
    ...stack,
    api: (path, init = {}) =>
      call(`${stack.env.INGEST_URL}${path}`, {
        ...init,
        headers: {
          authorization: `Bearer ${stack.env.SLUICE_API_KEY}`,
          ...(typeof init.body === 'string' ? { 'content-type': 'application/json' } : {}),
        },
      }),
    twin: (path, body) =>
      call(`${stack.controls.openai}/${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      }),
    stop: async () => {
      await stack.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function configOf(partLines: number): object {
  const config = parse(readFileSync(join(root, 'config/sluice.yaml'), 'utf8')) as Record<string, unknown>
  return {
    ...config,
    routing: { thresholds: { medium: 0.16, large: 0.45 } },
    cache: {},
    deployments: regions.map((region) => ({
      ...{ name: `mini-${region}`, azure_name: 'mini', tier: 'medium', model: 'gpt-4.1-mini', region },
      endpoint: `\${OPENAI_TWIN_URL}/r/${region}/openai/v1`,
      api_key: '${AZURE_OPENAI_API_KEY}',
      quota: { tokens_per_minute: 1_000_000_000, requests_per_minute: 100_000_000 },
      price: { input: 0.4, output: 1.6 },
      // About three parts at a time.
      batch: { azure_name: 'mini-batch', enqueued_tokens: partLines * 200 },
    })),
    batch: { part_lines: partLines, poll_ms: 250, max_poll_ms: 2_000, region_lost_after_ms: 2_000 },
  }
}
