// Runs a program that knows nothing of its supervisor (redis-server, Azurite) so that it never outlives it: the
// program is killed when this process is told to stop or when its stdin, a pipe held by the supervisor, ends.
// usage: node tether.ts COMMAND [ARG ...]
import { spawn } from 'node:child_process'

const [command = '', ...args] = process.argv.slice(2)
const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })

const stop = () => {
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), 8000).unref()
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.stdin.on('end', stop).on('error', stop).resume()
child.on('error', (error) => {
  process.stderr.write(`${command}: ${error.message}\n`)
  process.exit(1)
})
child.on('exit', (code) => process.exit(code ?? 1))
