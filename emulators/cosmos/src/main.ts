import { parseArgs } from 'node:util'
import { startCosmosEmulator } from './index.ts'

const help = `Usage: node emulators/cosmos/src/main.ts [options]

  --port N            port of the endpoint (default: a free one)
  --data DIR          keep everything in DIR; acknowledged writes survive SIGKILL (default: in memory)
  --key BASE64        account key (default: a fixed well-known one)
  --ru-per-second N   answer 429 beyond N request units a second (default: no limit)
  --help              this text

Prints one JSON line when ready. Control API: /_control/state, /_control/faults, /_control/reset on the same port.`

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    data: { type: 'string' },
    key: { type: 'string' },
    'ru-per-second': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

const wholeNumber = (name: string, text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} takes a whole number, not '${text}'.`)
  return value
}

if (values.help) {
  console.log(help)
  process.exit(0)
}

const ruPerSecond = values['ru-per-second']
const emulator = await startCosmosEmulator({
  port: wholeNumber('port', values.port),
  ...(values.data === undefined ? {} : { dataDir: values.data }),
  ...(values.key === undefined ? {} : { key: values.key }),
  ...(ruPerSecond === undefined ? {} : { ruPerSecond: wholeNumber('ru-per-second', ruPerSecond) }),
  onError: (error) => console.error(error),
})

let closing = false
const shutDown = (): void => {
  if (closing) return
  closing = true
  emulator.close().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
}
process.on('SIGTERM', shutDown)
process.on('SIGINT', shutDown)
if (process.env['EXIT_WITH_PARENT'] === '1') {
  // Our stdin is a pipe from the supervisor: its end means that the supervisor is gone, however it went.
  process.stdin.on('end', shutDown).on('error', shutDown).resume()
}

const { port, endpoint, key } = emulator
console.log(
  JSON.stringify({ ready: true, port, COSMOS_ENDPOINT: endpoint, COSMOS_KEY: key, control: `${endpoint}_control` }),
)
