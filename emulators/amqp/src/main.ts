import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startAmqpEmulator, type AmqpEmulatorOptions } from './start-amqp-emulator.ts'

const usage = `Service Bus and Event Hubs emulator: AMQP 1.0 on one port.

  node emulators/amqp/src/main.ts [options]

  --port N                     AMQP port (default: a free one)
  --host ADDRESS               address to listen on (default 127.0.0.1)
  --service-bus-config FILE    Config.json of Microsoft's Service Bus emulator
  --event-hubs-config FILE     Config.json of Microsoft's Event Hubs emulator
  --data DIR                   keep everything acknowledged there (default: in memory)
  --max-message-bytes N        largest single message (default 262144)
  --certificate FILE           write the administration API's certificate there, to be trusted by its clients
  --help                       this text

Prints one JSON line with the port, the control API's URL and the connection strings once it listens.
`

const misconfigured = 2
const failed = 1

const fail = (message: string, code = misconfigured): never => {
  process.stderr.write(`${message}\n`)
  process.exit(code)
}

const readConfig = (file: string | undefined): object | undefined => {
  if (file === undefined) return undefined
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as object
  } catch (error) {
    return fail(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const wholeNumber = (text: string | undefined, flag: string): number | undefined => {
  if (text === undefined) return undefined
  const number = Number(text)
  return Number.isInteger(number) && number >= 0 ? number : fail(`--${flag} must be a whole number, not ${text}`)
}

const readOptions = (): { options: AmqpEmulatorOptions; certificateFile: string | undefined } => {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      host: { type: 'string' },
      'service-bus-config': { type: 'string' },
      'event-hubs-config': { type: 'string' },
      data: { type: 'string' },
      'max-message-bytes': { type: 'string' },
      certificate: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    process.exit(0)
  }
  const serviceBusConfig = readConfig(values['service-bus-config'])
  const eventHubsConfig = readConfig(values['event-hubs-config'])
  const maxMessageBytes = wholeNumber(values['max-message-bytes'], 'max-message-bytes')
  const options = {
    port: wholeNumber(values.port, 'port') ?? 0,
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(serviceBusConfig === undefined ? {} : { serviceBusConfig }),
    ...(eventHubsConfig === undefined ? {} : { eventHubsConfig }),
    ...(values.data === undefined ? {} : { dataDir: values.data }),
    ...(maxMessageBytes === undefined ? {} : { maxMessageBytes }),
  }
  return { options, certificateFile: values.certificate }
}

try {
  const { options, certificateFile } = readOptions()
  const emulator = await startAmqpEmulator(options)
  if (certificateFile !== undefined) writeFileSync(certificateFile, emulator.administrationCertificate)
  let closing: Promise<void> | undefined
  const stop = (): void => {
    closing ??= emulator.close().then(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (process.env['EXIT_WITH_PARENT'] === '1') {
    process.stdin.on('end', stop)
    process.stdin.on('error', stop)
    process.stdin.resume()
  }
  const ready = {
    ready: true,
    port: emulator.port,
    control: `http://127.0.0.1:${emulator.controlPort}/_control`,
    administration: `https://localhost:${emulator.administrationPort}`,
    SERVICE_BUS_ADMINISTRATION_CONNECTION_STRING: emulator.administrationConnectionString,
    SERVICE_BUS_CONNECTION_STRING: emulator.serviceBusConnectionString,
    EVENT_HUBS_CONNECTION_STRING: emulator.eventHubsConnectionString,
  }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
} catch (error) {
  // A port or a directory that cannot be had now may be had later: a supervisor tries those again.
  const isSystemError = error instanceof Error && 'syscall' in error
  fail(error instanceof Error ? error.message : String(error), isSystemError ? failed : misconfigured)
}
