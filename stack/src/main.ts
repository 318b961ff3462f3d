import { mkdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type LocalStack, startLocalStack } from './local-stack.ts'
import { readableLine } from './log-lines.ts'
import { takeInstanceLock } from './single-instance.ts'
import { writeStackEnv } from './stack-env.ts'

const usage = `The whole of Sluice on this machine.

usage: npm start -- [options]

  --port N      the port of the HTTP door; default 7080
  --data DIR    where state survives; default .local/data
  --ephemeral   keep everything in memory
  --quiet       no logs of the processes
  --help        this text

AZURE_OPENAI_URL and AZURE_OPENAI_API_KEY make it call that real endpoint instead of the twin; PROXY_API_KEY sets the
first API key. Addresses and keys are written to .local/stack.env.
`

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    data: { type: 'string' },
    ephemeral: { type: 'boolean', default: false },
    quiet: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}

/** The documented port, or a free one when something else has it. */
async function preferredPort(): Promise<number> {
  const preferred = 7080
  const server = createServer()
  const free = await new Promise<boolean>((resolve) =>
    server.once('error', () => resolve(false)).listen(preferred, '127.0.0.1', () => server.close(() => resolve(true))),
  )
  if (!free) console.log(`port ${preferred} is taken: the HTTP door takes another one`)
  return free ? preferred : 0
}

const localDir = fileURLToPath(new URL('../../.local', import.meta.url))
mkdirSync(localDir, { recursive: true })
const lock = takeInstanceLock(join(localDir, 'stack.pid'))
if ('runningPid' in lock) {
  console.error(
    `Sluice already runs in this clone (process ${lock.runningPid}); its addresses are in .local/stack.env.`,
  )
  process.exit(1)
}

let stack: LocalStack | undefined
let stopping = false
const stop = async (code: number) => {
  if (stopping) return
  stopping = true
  await stack?.stop()
  lock.release()
  process.exit(code)
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (stopping) process.exit(1)
    if (!values.quiet) console.log('stopping …')
    void stop(0)
  })
}

try {
  stack = await startLocalStack({
    localDir,
    dataDir: values.ephemeral ? undefined : (values.data ?? join(localDir, 'data')),
    port: values.port === undefined ? await preferredPort() : Number(values.port),
    report: (event) => {
      if (!values.quiet || event.kind === 'note') console.log(readableLine(event))
    },
  })
} catch (error) {
  console.error(`Sluice could not start: ${error instanceof Error ? error.message : String(error)}`)
  await stop(1)
}
if (stack !== undefined && !stopping) {
  const envFile = join(localDir, 'stack.env')
  writeStackEnv(envFile, stack.env)
  const {
    INGEST_URL: url,
    SLUICE_API_KEY: key,
    SERVICE_BUS_CONNECTION_STRING: serviceBus,
    OPENAI_TWIN_URL: twin,
  } = stack.env
  console.log(`
  HTTP door     ${url}
  API key       ${key}
  Service Bus   ${serviceBus}
  OpenAI twin   ${twin}
  everything    .local/stack.env

  curl -s ${url}/v1/requests -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
    -d '{"custom_id":"hello","method":"POST","url":"/v1/chat/completions","body":{"model":"auto","messages":[{"role":"user","content":"What is a sluice?"}]}}'

ready`)
}
