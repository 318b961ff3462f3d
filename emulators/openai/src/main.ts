import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { TwinConfigInput } from './config.ts'
import { startOpenAITwin } from './start-openai-twin.ts'
import type { OpenAITwinOptions } from './start-openai-twin.ts'

const usage = `Azure OpenAI twin: several resources with deployments, quotas, batches and faults on one port.

  node emulators/openai/src/main.ts [--port N] [--host ADDRESS] [--config FILE] [--data DIR] [--seed N]
                                    [--faults FILE] [--calls N] [--log-header NAME]…

  --port N           port to listen on; a free one without it
  --host ADDRESS     address to listen on; 127.0.0.1 without it
  --config FILE      resources and deployments as JSON; three regions without it
  --data DIR         keep files and batches there, so that they survive a restart
  --seed N           answers and draws depend on it; 1 without it
  --faults FILE      timed list of faults as JSON
  --calls N          calls that the call log keeps; 50000 without it
  --log-header NAME  request header that the call log keeps; repeatable
`

const fail = (message: string): never => {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}

function readJsonFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    return fail(`${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function wholeNumber(text: string, flag: string): number {
  const number = Number(text)
  return Number.isInteger(number) && number >= 0 ? number : fail(`--${flag} must be a whole number, not ${text}`)
}

function readOptions(): OpenAITwinOptions {
  const { values } = parseArgs({
    options: {
      port: { type: 'string' },
      host: { type: 'string' },
      config: { type: 'string' },
      data: { type: 'string' },
      seed: { type: 'string' },
      faults: { type: 'string' },
      calls: { type: 'string' },
      'log-header': { type: 'string', multiple: true },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    process.exit(0)
  }
  return {
    ...(values.port === undefined ? {} : { port: wholeNumber(values.port, 'port') }),
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values.config === undefined ? {} : { config: readJsonFile(values.config) as TwinConfigInput }),
    ...(values.data === undefined ? {} : { dataDir: values.data }),
    ...(values.seed === undefined ? {} : { seed: wholeNumber(values.seed, 'seed') }),
    ...(values.faults === undefined ? {} : { script: readJsonFile(values.faults) }),
    ...(values.calls === undefined ? {} : { callLogSize: Math.max(1, wholeNumber(values.calls, 'calls')) }),
    ...(values['log-header'] === undefined ? {} : { loggedHeaders: values['log-header'] }),
  }
}

try {
  const twin = await startOpenAITwin(readOptions())
  let closing: Promise<void> | undefined
  const stop = (): void => {
    closing ??= twin.close().then(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  if (process.env['EXIT_WITH_PARENT'] === '1') {
    process.stdin.on('end', stop)
    process.stdin.on('error', stop)
    process.stdin.resume()
  }
  const ready = { ready: true, port: twin.port, OPENAI_TWIN_URL: twin.url, control: `${twin.url}/_control` }
  process.stdout.write(`${JSON.stringify(ready)}\n`)
} catch (error) {
  fail(error instanceof Error ? error.message : String(error))
}
