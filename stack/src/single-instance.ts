import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

/**
 * Takes the file as the mark of the one running stack of this clone.
 * @returns the process id of the stack that runs already, or a function that gives the mark back.
 */
export function takeInstanceLock(file: string): { runningPid: number } | { release: () => void } {
  for (let attempt = 0; ; attempt++) {
    try {
      // 'wx' is atomic: of two starts at the same moment one wins.
      writeFileSync(file, String(process.pid), { flag: 'wx' })
      return { release: () => rmSync(file, { force: true }) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 2) throw error
      const runningPid = runningInstance(file)
      if (runningPid !== undefined) return { runningPid }
      rmSync(file, { force: true })
    }
  }
}

/** The process id of the stack that holds the mark, if one runs. */
export function runningInstance(file: string): number | undefined {
  if (!existsSync(file)) return undefined
  const pid = Number(readFileSync(file, 'utf8'))
  return isStack(pid) ? pid : undefined
}

// A process id is reused sooner or later: where the system tells a process' command line, it must be ours.
function isStack(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const commandLine = `/proc/${pid}/cmdline`
  if (!existsSync(commandLine)) return true
  return /launch\.js|stack/.test(readFileSync(commandLine, 'utf8'))
}
