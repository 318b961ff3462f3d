import { type Clock, systemClock, withDeadline } from '@sluice/resilience'
import { createLogger, createMetrics, type Logger, type Metrics } from '@sluice/telemetry'
import { z } from 'zod'
import { commonEnv } from './common-env.ts'
import { ConfigError } from './config-error.ts'
import { probe, type ProbeAnswer, startHealthServer } from './health-server.ts'
import { Lifecycle } from './lifecycle.ts'
import { type Check, createReadiness } from './readiness.ts'
import { readEnv } from './read-env.ts'

export interface ServiceContext<C> {
  config: C
  logger: Logger
  metrics: Metrics
  clock: Clock
  /** Aborts when the service is told to stop; a start that is still under way gives up then. */
  signal: AbortSignal
  /** Answers a probe path, for a service that serves the probes on its own port as well; undefined for other paths. */
  probe: (path: string) => Promise<ProbeAnswer | undefined>
}

export interface RunningService {
  /** Stops receiving, finishes or gives back what is in flight, closes. Bounded by DRAIN_MS from outside. */
  stop(): Promise<void>
  /** What readiness depends on; each has a second to answer. */
  checks: Readonly<Record<string, Check>>
  /** Fields of the `ready` line, such as the port of a service that listens. */
  announce?: object
}

export interface ServiceDefinition<S extends z.ZodType> {
  name: string
  /** Reads the environment; unknown variables are ignored. */
  configSchema: S
  start(context: ServiceContext<z.infer<S>>): Promise<RunningService>
}

const kitEnv = z.object({
  HEALTH_HOST: z.string().default('127.0.0.1'),
  HEALTH_PORT: z.coerce.number().int().min(0).max(65_535).default(0).describe('0: any free port'),
  DRAIN_MS: z.coerce.number().int().positive().default(25_000).describe('shorter than the kill grace of the platform'),
  EXIT_WITH_PARENT: z.enum(['0', '1']).default('0').describe('1: the end of standard input counts as SIGTERM'),
  LOG_LEVEL: commonEnv.LOG_LEVEL,
})

// Ctrl+C reaches the whole process group and a supervisor passes it on as well: that is one request, not an insistent one.
const sameRequestMs = 300

/**
 * Runs a service until it is told to stop; the process ends with it. Exit code 0 after a complete drain, 1 after bad
 * configuration, a failed start, a drain that overran DRAIN_MS, a second signal or an error that nobody handled.
 */
export async function runService<S extends z.ZodType>(definition: ServiceDefinition<S>): Promise<void> {
  let logger = createLogger({ service: definition.name })
  const fail = (fields: object, message: string): never => {
    lifecycle.enter('failed')
    logger.fatal(fields, message)
    process.exit(1)
  }
  const lifecycle = new Lifecycle((state) => logger.info({ state }, 'state'))
  process.on('unhandledRejection', (err) => fail({ err }, 'unhandled rejection'))
  process.on('uncaughtException', (err) => fail({ err }, 'uncaught exception'))
  const stopping = new AbortController()

  try {
    const { kit, config } = readConfig(definition.configSchema)
    logger = createLogger({ service: definition.name, level: kit.LOG_LEVEL })
    onStopRequest(kit.EXIT_WITH_PARENT === '1', {
      first: (why) => {
        logger.info({ why }, 'stopping')
        stopping.abort(new Error(`stopping: ${why}`))
      },
      insistent: () => fail({}, 'stopped without draining at the second signal'),
    })

    const metrics = createMetrics(definition.name)
    let checks: RunningService['checks'] = {}
    const ready = createReadiness(() => checks, systemClock)
    const sources = { state: () => lifecycle.state, ready, metrics }
    const health = await startHealthServer({ host: kit.HEALTH_HOST, port: kit.HEALTH_PORT, ...sources })

    const starting = definition.start({
      config,
      logger,
      metrics,
      clock: systemClock,
      signal: stopping.signal,
      probe: (path) => probe(path, sources),
    })
    const stopRequested = aborted(stopping.signal)
    await Promise.race([unlessStopped(starting, stopping.signal), stopRequested])
    if (!stopping.signal.aborted) {
      const service = await starting
      checks = service.checks
      lifecycle.enter('running')
      // Whoever started the process waits for this line, whatever the log level.
      createLogger({ service: definition.name }).info({ healthPort: health.port, ...service.announce }, 'ready')
      await stopRequested
    }

    lifecycle.enter('draining')
    const overrun = () => new Error(`not drained within ${kit.DRAIN_MS} ms`)
    await withDeadline(kit.DRAIN_MS, undefined, () => stop(starting), overrun)
    await health.close()
    lifecycle.enter('stopped')
    process.exit(0)
  } catch (err) {
    if (err instanceof ConfigError) for (const problem of err.problems) logger.fatal(problem)
    fail(err instanceof ConfigError ? {} : { err }, `${definition.name} failed while ${lifecycle.state}`)
  }
}

// A start that gives up because it was told to stop has not failed, and has nothing left to drain.
async function unlessStopped(starting: Promise<unknown>, signal: AbortSignal): Promise<void> {
  try {
    await starting
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function stop(starting: Promise<RunningService>): Promise<void> {
  const service = await starting.catch(() => undefined)
  await service?.stop()
}

function readConfig<S extends z.ZodType>(schema: S): { kit: z.infer<typeof kitEnv>; config: z.infer<S> } {
  const problems: string[] = []
  const read = <T extends z.ZodType>(part: T) => {
    try {
      return readEnv(part, process.env)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  const kit = read(kitEnv)
  const config = read(schema)
  if (kit === undefined || problems.length > 0) throw new ConfigError([...new Set(problems)])
  return { kit, config: config as z.infer<S> }
}

function onStopRequest(withParent: boolean, on: { first: (why: string) => void; insistent: () => void }): void {
  let firstAtMs: number | undefined
  const request = (why: string, isSignal: boolean) => {
    const now = systemClock.monotonic()
    if (firstAtMs === undefined) {
      firstAtMs = now
      on.first(why)
    } else if (isSignal && now - firstAtMs > sameRequestMs) on.insistent()
  }
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => request(name, true))
  if (!withParent) return
  process.stdin.once('end', () => request('parent ended', false))
  process.stdin.once('error', () => request('parent ended', false))
  process.stdin.resume()
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
