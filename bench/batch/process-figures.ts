import { readFileSync } from 'node:fs'

/** What a service's processes used so far, those that were killed included. */
export interface ProcessFigures {
  /** Largest resident size of any of them, MB. */
  peakRssMb(): number
  /** CPU of all of them together, ms. */
  cpuMs(): number
  stop(): void
}

const everyMs = 100
const ticksPerSecond = 100

/** Watches a process by its current pid, on Linux. */
export function watchProcess(pidOf: () => number | undefined): ProcessFigures {
  const cpu = new Map<number, number>()
  let peak = 0
  const look = () => {
    const pid = pidOf()
    if (pid === undefined) return
    try {
      const peakOfPid = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0
      peak = Math.max(peak, Number(peakOfPid) / 1024)
      // After the name, which may contain spaces: utime and stime are the 12th and 13th field.
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      cpu.set(pid, ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond)
    } catch {
      // It was killed a moment ago; what was seen of it counts.
    }
  }
  look()
  const before = sum(cpu)
  const timer = setInterval(look, everyMs)
  return {
    peakRssMb: () => (look(), peak),
    cpuMs: () => (look(), sum(cpu) - before),
    stop: () => clearInterval(timer),
  }
}

const sum = (values: ReadonlyMap<number, number>) => [...values.values()].reduce((total, value) => total + value, 0)
