import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startEmulators } from './emulator-set.ts'

const usage = `Azure stand-ins that speak the services' own protocols, for the unmodified SDKs.

usage: npm run emulators -- [options]

  --service-bus-config FILE   queues, topics and subscriptions (the Config.json of Microsoft's emulator);
                              default: config/service-bus.json of this clone
  --event-hubs-config FILE    hubs and consumer groups (likewise); default: config/event-hubs.json
  --openai-config FILE        the twin's resources and deployments
  --port N                    the AMQP port (Service Bus and Event Hubs); default: a free one
  --data DIR                  keep state there; default: in memory
  --signalr-key KEY           the access key of the SignalR emulator
  --all                       Azurite and a redis-server too
  --help                      this text

Prints one JSON line with every connection string and control URL, then the line "ready". Ctrl-C stops everything.
`

const fromClone = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url))

const { values } = parseArgs({
  options: {
    'service-bus-config': { type: 'string', default: fromClone('config/service-bus.json') },
    'event-hubs-config': { type: 'string', default: fromClone('config/event-hubs.json') },
    'openai-config': { type: 'string' },
    'signalr-key': { type: 'string' },
    port: { type: 'string', default: '0' },
    data: { type: 'string' },
    all: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(usage)
  process.exit(0)
}
const set = await startEmulators({
  port: Number(values.port),
  dataDir: values.data,
  serviceBusConfig: values['service-bus-config'],
  eventHubsConfig: values['event-hubs-config'],
  openaiConfig: values['openai-config'],
  signalrKey: values['signalr-key'],
  all: values.all,
  report: (event) =>
    process.stderr.write(`${event.name.padEnd(8)} ${event.kind === 'line' ? event.line : event.note}\n`),
})
const stop = () => void set.stop().then(() => process.exit(0))
process.on('SIGINT', stop)
process.on('SIGTERM', stop)
if (process.env.EXIT_WITH_PARENT === '1') process.stdin.on('end', stop).resume()
console.log(JSON.stringify({ ...set.connections, control: set.controls }))
console.log('ready')
