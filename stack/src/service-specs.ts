import { fileURLToPath } from 'node:url'
import type { Announcement, ProcessSpec } from '@sluice/emulator-host'

export const serviceNames = ['ingest', 'router-worker', 'batch-worker', 'notifier'] as const
export type ServiceName = (typeof serviceNames)[number]

const root = fileURLToPath(new URL('../../', import.meta.url))

// The batch worker's files pass through it as short-lived lines. With a large young generation many of them outlive a
// scavenge and are garbage only afterwards, which costs a hundred megabytes (`npm run bench -- batch`). Ingest's calls live
// for as long as a model takes: with a small one they would all grow old before they end (`npm run bench -- gateway`), and so
// they would where V8 makes objects old at once that it has seen survive: docs/decisions/2026-11-21-calls-stay-young.md.
const nodeOptions: Record<ServiceName, string[]> = {
  ingest: ['--max-semi-space-size=64', '--no-allocation-site-pretenuring'],
  'router-worker': [],
  'batch-worker': ['--max-semi-space-size=4'],
  notifier: [],
}

/** One of the four services as a child process, configured by its environment alone, as in production. */
export function serviceProcess(name: ServiceName, env: Record<string, string>): ProcessSpec {
  return {
    name,
    command: process.execPath,
    args: () => [...nodeOptions[name], `${root}services/${name}/src/main.ts`],
    // Whatever listens takes the ports again that it had before a restart.
    env: ({ port, healthPort }) => ({
      ...env,
      ...(port === undefined ? {} : { PORT: String(port) }),
      ...(typeof healthPort === 'number' ? { HEALTH_PORT: String(healthPort) } : {}),
    }),
    readyLine: serviceReady,
    killAfterMs: 35_000,
  }
}

// The services log JSON; the line that says "ready" carries the ports.
function serviceReady(line: string): Announcement | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const record = JSON.parse(line) as Announcement
    return record.msg === 'ready' ? record : undefined
  } catch {
    return undefined
  }
}
