import { readFileSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import type { Deployment } from '@sluice/contracts'
import type { Clock, Timer } from '@sluice/resilience'

/** The keys that deployments are called with, those from files as the files are now. */
export interface UpstreamKeys {
  /** A deployment's key at this moment. */
  of(deployment: Deployment): string
  /** Reads a deployment's key file at once, after its key was refused. @returns whether the key is a new one */
  refresh(deployment: Deployment): Promise<boolean>
  /** Stops looking at the files. */
  close(): void
}

interface KeyFile {
  path: string
  key: string
  /** Size, times and inode: whatever a writer or a swapped symlink changes. */
  stamp: string
}

/**
 * Looks at each key file every `intervalMs`. Files are polled rather than watched: secrets are mounted as symlinks
 * that are swapped as a whole, and network file systems report nothing.
 * @throws Error that names the deployment when its file cannot be read at the start; later a file that is away or
 * empty leaves the key as it was
 */
export function createUpstreamKeys(options: {
  deployments: readonly Deployment[]
  clock: Clock
  intervalMs?: number
}): UpstreamKeys {
  const { deployments, clock, intervalMs = 5_000 } = options
  const files = new Map<string, KeyFile>()
  let timer: Timer | undefined
  let closed = false

  for (const { name, api_key_file: path } of deployments) {
    if (path !== undefined) files.set(name, { path, key: firstKey(name, path), stamp: '' })
  }

  const read = async (file: KeyFile): Promise<boolean> => {
    try {
      const key = (await readFile(file.path, 'utf8')).trim()
      if (key === '' || key === file.key) return false
      file.key = key
      return true
    } catch {
      return false
    }
  }

  const look = async () => {
    await Promise.all(
      [...files.values()].map(async (file) => {
        const stamp = await stampOf(file.path)
        if (stamp === undefined || stamp === file.stamp) return
        // The stamp is from before the read: a write in between is seen at the next look.
        await read(file)
        file.stamp = stamp
      }),
    )
    if (!closed) timer = clock.setTimeout(() => void look(), intervalMs)
  }
  if (files.size > 0) void look()

  return {
    of: ({ name, api_key }) => files.get(name)?.key ?? api_key ?? '',
    refresh: async ({ name }) => {
      const file = files.get(name)
      return file !== undefined && (await read(file))
    },
    close() {
      closed = true
      timer?.cancel()
    },
  }
}

function firstKey(name: string, path: string): string {
  let key: string
  try {
    key = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    throw new Error(`${name}: its api_key_file ${path} cannot be read`, { cause })
  }
  if (key === '') throw new Error(`${name}: its api_key_file ${path} is empty`)
  return key
}

async function stampOf(path: string): Promise<string | undefined> {
  try {
    const { size, mtimeMs, ctimeMs, ino } = await stat(path)
    return [size, mtimeMs, ctimeMs, ino].join()
  } catch {
    return undefined
  }
}
