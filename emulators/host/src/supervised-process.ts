import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface ProcessSpec {
  name: string
  command: string
  /** The arguments; `port` is the one that the process announced before (0 at first), so that a restart keeps it. */
  args: (port: number) => string[]
  /** Added to this process' own environment; `announced` is what it said of itself before a restart. */
  env?: (announced: Announcement) => Record<string, string>
  /** Reads a line of stdout; answers what the process announced when the line says that it is ready. */
  readyLine: (line: string) => Announcement | undefined
  /** Restart after an exit nobody asked for; default true. */
  restart?: boolean
  /** How long a stop may take before SIGKILL; default 10,000. */
  killAfterMs?: number
}

/** What a process says of itself once it is ready; `port` when it listens. */
export type Announcement = { port?: number; [field: string]: unknown }

export type ProcessEvent = { name: string; kind: 'line'; line: string } | { name: string; kind: 'note'; note: string }

const startDeadlineMs = 60_000
const misconfiguredCode = 2
const restartPauseMs = [100, 500, 2000, 5000]

/**
 * A child process that is kept alive until stop(): started, watched, restarted with a growing pause when it exits
 * unasked. States: stopped → starting → ready → (exited → starting …) → stopping → stopped.
 *
 * The child runs in a process group of its own, so that a terminal's Ctrl-C reaches the supervisor alone, which then
 * stops its children in order; and its stdin is a pipe from here, so that it notices (EXIT_WITH_PARENT) when the
 * supervisor itself is killed.
 *
 * A first start that ends with exit code 2 is not repeated: that is how a process says that its arguments or its
 * configuration are wrong.
 */
export class SupervisedProcess {
  readonly #spec: ProcessSpec
  readonly #report: (event: ProcessEvent) => void
  #child: ChildProcess | undefined
  #announced: Announcement = {}
  #stopping = false
  #failures = 0
  #pause: NodeJS.Timeout | undefined
  #readyWaiters: { resolve: (announcement: Announcement) => void; reject: (error: Error) => void }[] = []
  #exited: Promise<void> = Promise.resolve()
  #ready = false

  constructor(spec: ProcessSpec, report: (event: ProcessEvent) => void) {
    this.#spec = spec
    this.#report = report
  }

  get name() {
    return this.#spec.name
  }

  get pid() {
    return this.#child?.pid
  }

  /** Starts the process and waits until it said that it is ready. */
  async start(): Promise<Announcement> {
    this.#stopping = false
    const deadline = AbortSignal.timeout(startDeadlineMs)
    const ready = this.whenReady()
    this.#spawn()
    return Promise.race([
      ready,
      new Promise<never>((_, reject) =>
        deadline.addEventListener('abort', () =>
          reject(new Error(`${this.name} was not ready within ${startDeadlineMs} ms`)),
        ),
      ),
    ])
  }

  /** What the running process announced; waits for the restart when it is down. */
  async whenReady(): Promise<Announcement> {
    if (this.#ready) return this.#announced
    return new Promise((resolve, reject) => this.#readyWaiters.push({ resolve, reject }))
  }

  /** SIGKILL to the whole group, for fault tests; the supervisor restarts it. */
  kill(): void {
    this.#signal('SIGKILL')
  }

  /** SIGTERM, then SIGKILL when it takes too long; resolves when the process is gone. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#pause)
    this.#settleWaiters(new Error(`${this.name} was stopped`))
    this.#signal('SIGTERM')
    const hard = setTimeout(() => {
      this.#report({ name: this.name, kind: 'note', note: 'does not stop: killed' })
      this.#signal('SIGKILL')
    }, this.#spec.killAfterMs ?? 10_000)
    await this.#exited
    clearTimeout(hard)
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid
    if (pid === undefined) return
    try {
      process.kill(signal === 'SIGKILL' ? -pid : pid, signal)
    } catch {
      // It exited between the look and the signal.
    }
  }

  #spawn(): void {
    const spec = this.#spec
    const port = this.#announced.port ?? 0
    const child = spawn(spec.command, spec.args(port), {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...spec.env?.(this.#announced), EXIT_WITH_PARENT: '1' },
    })
    this.#child = child
    child.stdin.on('error', () => {})
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#line(line))
    }
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.#report({ name: this.name, kind: 'note', note: `cannot be started: ${error.message}` })
        this.#gone(resolve, undefined)
      })
      child.once('exit', (code, signal) => {
        if (!this.#stopping) this.#report({ name: this.name, kind: 'note', note: `exited (${signal ?? code})` })
        this.#gone(resolve, code ?? undefined)
      })
    })
  }

  #line(line: string): void {
    const announcement = this.#ready ? undefined : this.#spec.readyLine(line)
    if (announcement === undefined) {
      this.#report({ name: this.name, kind: 'line', line })
      return
    }
    this.#ready = true
    this.#failures = 0
    this.#announced = { ...this.#announced, ...announcement }
    this.#settleWaiters()
  }

  #settleWaiters(error?: Error): void {
    const waiters = this.#readyWaiters
    this.#readyWaiters = []
    for (const { resolve, reject } of waiters) {
      if (error === undefined) resolve(this.#announced)
      else reject(error)
    }
  }

  #gone(resolve: () => void, code: number | undefined): void {
    if (this.#child === undefined) return
    this.#child = undefined
    const wasUp = this.#ready
    this.#ready = false
    resolve()
    if (this.#stopping) return
    const isMisconfigured = code === misconfiguredCode && this.#announced.port === undefined
    if (this.#spec.restart === false || isMisconfigured || (!wasUp && this.#failures >= restartPauseMs.length)) {
      this.#settleWaiters(new Error(`${this.name} exited before it was ready`))
      return
    }
    const pause = restartPauseMs[Math.min(this.#failures++, restartPauseMs.length - 1)]
    this.#pause = setTimeout(() => this.#spawn(), pause)
  }
}
