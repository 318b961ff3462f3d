import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ProcessEvent, startEmulators, SupervisedProcess } from '@sluice/emulator-host'
import { provision } from '../../stack/src/provision.ts'
import { serviceProcess } from '../../stack/src/service-specs.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const key = 'sk-bench-gateway-key'

/** Something that a call can go through. */
export interface Gateway {
  port: number
  /** Of the upstream's path: `/openai/v1` answers at once, `/slow/openai/v1` after a pause. */
  path(slow: boolean): string
  headers(slow: boolean): Record<string, string>
  model(slow: boolean): string
  /** Undefined for the direct way. */
  pid: number | undefined
}

export interface Gateways {
  direct: Gateway
  node: Gateway
  portkey: Gateway
  ingest: Gateway
  stop(): Promise<void>
}

const report = (event: ProcessEvent): void => {
  const said = event.kind === 'note' ? event.note : event.line
  if (event.kind === 'note' || /"level":"(error|fatal)"/.test(said)) console.error(event.name, said.slice(0, 300))
}

const ownProcess = (file: string, args: string[] = []) =>
  new SupervisedProcess(
    {
      name: file,
      command: process.execPath,
      args: () => [fileURLToPath(new URL(file, import.meta.url)), ...args],
      readyLine: (line) => (line.startsWith('{"ready":true') ? (JSON.parse(line) as { port: number }) : undefined),
      restart: false,
    },
    report,
  )

/** Starts the upstream and everything that stands in front of it; the gateways get the last CPU, the rest the others. */
export async function startGateways(): Promise<Gateways> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-gateway-'))
  const running: { stop(): Promise<void> }[] = []
  const stop = async () => {
    for (const one of running.toReversed()) await one.stop()
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    const upstream = ownProcess('upstream.ts')
    running.push(upstream)
    const { port } = await upstream.start()
    const upstreamPort = Number(port)
    const proxy = ownProcess('node-proxy.ts', [String(upstreamPort)])
    running.push(proxy)
    const proxyPort = Number((await proxy.start()).port)
    const portkey = await startPortkey()
    running.push(portkey.process)
    const ingest = await startIngest(dir, upstreamPort)
    running.push(ingest)
    const plain = {
      path: (slow: boolean) => `${prefix(slow)}/chat/completions`,
      model: () => 'gpt-4.1-mini',
      headers: () => auth,
    }
    return {
      direct: { ...plain, port: upstreamPort, pid: undefined },
      node: { ...plain, port: proxyPort, pid: proxy.pid },
      portkey: {
        port: portkey.port,
        pid: portkey.process.pid,
        path: () => '/v1/chat/completions',
        model: () => 'gpt-4.1-mini',
        headers: (slow) => ({
          ...auth,
          'x-portkey-provider': 'openai',
          'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}${prefix(slow)}`,
        }),
      },
      ingest: {
        port: ingest.port,
        pid: ingest.pid,
        path: () => '/v1/chat/completions',
        // `auto`: the prompt is scored for each call. The slow upstream is another model, which is named.
        model: (slow) => (slow ? 'slow' : 'auto'),
        headers: () => auth,
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const auth = { authorization: `Bearer ${key}` }
const prefix = (slow: boolean) => (slow ? '/slow/openai/v1' : '/openai/v1')

/** Keeps a process and all its threads on some of the CPUs. */
export function pin(pid: number | undefined, cpus: string): void {
  if (pid !== undefined) execFileSync('taskset', ['-a', '-c', '-p', cpus, String(pid)], { stdio: 'ignore' })
}

/** Portkey's gateway with the dependencies that its streaming works with, in a folder of its own. */
async function startPortkey(): Promise<{ process: SupervisedProcess; port: number }> {
  const folder = join(root, '.local/bench-gateway/portkey')
  const main = join(folder, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  const manifest = {
    private: true,
    dependencies: { '@portkey-ai/gateway': '1.15.2' },
    overrides: { hono: '4.9.7', '@hono/node-server': '1.14.1' },
  }
  if (!existsSync(main)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    const options = ['install', '--no-audit', '--no-fund', '--ignore-scripts']
    const installed = spawnSync('npm', options, { cwd: folder, stdio: 'inherit', timeout: 180_000 })
    if (installed.status !== 0) throw new Error('@portkey-ai/gateway could not be installed')
  }
  const port = await freePort()
  const child = new SupervisedProcess(
    {
      name: 'portkey',
      command: process.execPath,
      args: () => [main, `--port=${port}`, '--headless'],
      env: () => ({ TRUSTED_CUSTOM_HOSTS: '127.0.0.1,localhost' }),
      readyLine: (line) => (/ready|running|listening|started/i.test(line) ? { port } : undefined),
      restart: false,
    },
    () => undefined,
  )
  await child.start()
  return { process: child, port }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
    })
  })

const deployment = (name: string, port: number, more: object) => ({
  name,
  region: 'local',
  endpoint: `http://127.0.0.1:${port}/openai/v1`,
  api_key: 'bench',
  quota: { tokens_per_minute: 2_000_000_000, requests_per_minute: 200_000_000 },
  max_concurrency: 10_000,
  price: { input: 0.4, output: 1.6 },
  ...more,
})

/** The real service on its emulators, with limits that are counted and never reached. */
async function startIngest(dir: string, upstreamPort: number) {
  const emulators = await startEmulators({
    dataDir: undefined,
    serviceBusConfig: join(root, 'config/service-bus.json'),
    eventHubsConfig: join(root, 'config/event-hubs.json'),
    all: true,
    report,
  })
  await provision(emulators.connections)
  const config = {
    version: 1,
    routing: { thresholds: { medium: 0.16, large: 0.45 } },
    deployments: [
      ...['small', 'medium', 'large'].map((tier) => deployment(`bench-${tier}`, upstreamPort, { tier, model: tier })),
      deployment('bench-slow', upstreamPort, {
        model: 'slow',
        endpoint: `http://127.0.0.1:${upstreamPort}/slow/openai/v1`,
      }),
    ],
    lanes: { 'requests-standard': { priority: 'standard', tenants: '*', default_tenant: 'bench', share: 1 } },
    batches: { tenants: '*', default_tenant: 'bench' },
    tenants: {
      bench: { limits: { requests_per_minute: 200_000_000, tokens_per_minute: 2_000_000_000, concurrency: 10_000 } },
    },
  }
  const configFile = join(dir, 'sluice.json')
  writeFileSync(configFile, JSON.stringify(config))
  const service = new SupervisedProcess(
    serviceProcess('ingest', {
      ...emulators.connections,
      SLUICE_CONFIG: configFile,
      PROXY_API_KEY: key,
      PROXY_API_TENANT: 'bench',
      PORT: '0',
      LOG_LEVEL: 'info',
    }),
    report,
  )
  const stop = async () => {
    await service.stop()
    await emulators.stop()
  }
  try {
    const { port } = await service.start()
    return { port: Number(port), pid: service.pid, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** CPU time of a process and all its threads so far, in ms; the kernel counts it in ns. */
export function cpuMs(pid: number | undefined): number {
  if (pid === undefined) return 0
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).reduce((sum, task) => {
    const [ns = '0'] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')
    return sum + Number(ns) / 1e6
  }, 0)
}

export function residentMb(pid: number | undefined): number {
  if (pid === undefined) return 0
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
}
