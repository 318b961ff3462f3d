import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmulators, type EmulatorSetOptions } from './emulator-set.ts'

const usage = `Azure stand-ins that speak the services' own protocols, for the unmodified SDKs.

usage: npm run emulators -- [options]

  --service-bus-config FILE   queues, topics and subscriptions (the Config.json of Microsoft's emulator);
                              default: config/service-bus.json of this clone
  --event-hubs-config FILE    hubs and consumer groups (likewise); default: config/event-hubs.json
  --openai-config FILE        the OpenAI twin's resources and deployments; default: three regions
  --openai-faults FILE        the OpenAI twin's timed faults
  --port N                    the AMQP port (Service Bus and Event Hubs); default: a free one
  --data DIR                  keep state there; default: in memory
  --signalr-key KEY           the access key of the SignalR emulator
  --certificate FILE          write the certificate of the Service Bus administration API there, for clients to trust
  --all                       Azurite and a redis-server too
  --help                      this text

Prints one JSON line with every connection string and control URL, then the line "ready". Ctrl-C stops everything.
`

const fail = (sentence: string, code: number): never => {
  process.stderr.write(`${sentence}\n`)
  process.exit(code)
}

const fromClone = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

const readArguments = () =>
  parseArgs({
    options: {
      'service-bus-config': { type: 'string', default: fromClone('config/service-bus.json') },
      'event-hubs-config': { type: 'string', default: fromClone('config/event-hubs.json') },
      'openai-config': { type: 'string' },
      'openai-faults': { type: 'string' },
      'signalr-key': { type: 'string' },
      certificate: { type: 'string' },
      port: { type: 'string', default: '0' },
      data: { type: 'string' },
      all: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  }).values

const readOptions = (): EmulatorSetOptions => {
  const values = (() => {
    try {
      return readArguments()
    } catch (error) {
      return fail(`${error instanceof Error ? error.message : String(error)}\n--help lists the options.`, 2)
    }
  })()
  if (values.help) {
    process.stdout.write(usage)
    process.exit(0)
  }
  const port = Number(values.port)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    fail(`--port must be a whole number up to 65535, not ${values.port}`, 2)
  return {
    port,
    dataDir: values.data,
    serviceBusConfig: values['service-bus-config'],
    eventHubsConfig: values['event-hubs-config'],
    openaiConfig: values['openai-config'],
    openaiFaults: values['openai-faults'],
    signalrKey: values['signalr-key'],
    certificate: values.certificate,
    all: values.all,
    report: (event) =>
      process.stderr.write(`${event.name.padEnd(8)} ${event.kind === 'line' ? event.line : event.note}\n`),
  }
}

const set = await startEmulators(readOptions()).catch((error: unknown) =>
  fail(error instanceof Error ? error.message : String(error), 1),
)
const stop = () => void set.stop().then(() => process.exit(0))
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
if (process.env.EXIT_WITH_PARENT === '1') process.stdin.on('end', stop).resume()
console.log(JSON.stringify({ ...set.connections, control: set.controls }))
console.log('ready')
