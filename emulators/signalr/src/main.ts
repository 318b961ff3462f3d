import { parseArgs } from 'node:util'

import { startSignalREmulator } from './start-signalr-emulator.ts'

const usage = `Azure SignalR Service emulator, serverless mode.

  node emulators/signalr/src/main.ts [--port N] [--host HOST] [--access-key KEY] [--verbose]

  --port N          TCP port; 0 (the default) takes a free one
  --host HOST       address to listen on (default 127.0.0.1)
  --access-key KEY  the key that tokens are signed with
  --data DIR        accepted and ignored: connections do not outlive the process
  --config FILE     accepted and ignored: hubs need no configuration
  --verbose         log every connection that ends, to stderr
  --help            this text

Prints one JSON line when it listens. With EXIT_WITH_PARENT=1 it exits when its stdin ends.`

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    'access-key': { type: 'string' },
    data: { type: 'string' },
    config: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

async function main(): Promise<void> {
  if (values.help) return console.log(usage)
  const port = Number(values.port)
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port ${values.port} is not a port`)

  const emulator = await startSignalREmulator({
    port,
    host: values.host,
    ...(values['access-key'] === undefined ? {} : { accessKey: values['access-key'] }),
    ...(values.verbose ? { log: (line: string) => console.error(`signalr: ${line}`) } : {}),
  })
  console.log(
    JSON.stringify({
      ready: true,
      port: emulator.port,
      control: `http://${values.host}:${emulator.port}/_control`,
      SIGNALR_CONNECTION_STRING: emulator.connectionString,
    }),
  )

  const stop = (): void => {
    emulator.close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error)
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
  if (process.env['EXIT_WITH_PARENT'] === '1') process.stdin.once('end', stop).resume()
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
})
