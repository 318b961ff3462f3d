#!/usr/bin/env node
// Runs one of the project's programs on a machine that has only Node 20 or newer and npm: brings Node 24 when the
// machine's is older, installs the npm packages when they are missing, and finds or installs redis-server.
// Plain JavaScript without dependencies, because it runs before there is anything else.
// usage: node scripts/launch.js [--redis] PROGRAM [ARG ...]
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const nodeMajor = 24
const nodeVersion = '24.21.0'

const argv = process.argv.slice(2)
const needsRedis = argv[0] === '--redis'
if (needsRedis) argv.shift()
const [program, ...args] = argv
if (program === undefined) giveUp('usage: node scripts/launch.js [--redis] PROGRAM [ARG ...]')

const node = suitableNode()
// Child processes (npm, the programs' own children) must meet the same Node.
process.env.PATH = [dirname(node), process.env.PATH ?? ''].join(delimiter)
installPackages()
const redis = needsRedis ? redisServer() : undefined
await run()

function giveUp(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}

function say(sentence) {
  process.stderr.write(`sluice: ${sentence}\n`)
}

function suitableNode() {
  if (Number(process.versions.node.split('.')[0]) >= nodeMajor) return process.execPath
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  const home = join(root, '.local', 'node')
  const binary = join(home, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
  if (existsSync(binary)) return binary
  say(
    `Node ${process.versions.node} is here, ${nodeMajor} is needed: installing ${name} ${nodeVersion} into .local/node`,
  )
  mkdirSync(home, { recursive: true })
  // A package.json of its own keeps npm from walking up into this workspace.
  writeFileSync(join(home, 'package.json'), '{ "private": true }\n')
  const done = npm(
    [
      'install',
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      `${name}@${nodeVersion}`,
    ],
    home,
  )
  if (!done || !existsSync(binary))
    giveUp(
      `Please install Node ${nodeMajor} or newer: it could not be fetched for ${process.platform} ${process.arch}.`,
    )
  return binary
}

// The stamp is written after a complete install, so an interrupted one is repeated.
function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const stamp = join(root, 'node_modules', '.sluice-lock')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  say('installing the npm packages (npm ci)')
  const done = npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'], root)
  if (!done) giveUp('The npm packages could not be installed: see the messages of npm ci above.')
  writeFileSync(stamp, lock)
}

function npm(words, cwd) {
  // npm_config_* of an outer `npm run` would redirect this install (prefix, workspace).
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) =>
        !/^npm_(config_(?!registry|cache|userconfig|globalconfig|https?_proxy|proxy|noproxy|cafile|strict_ssl)|package_|lifecycle_)/i.test(
          name,
        ),
    ),
  )
  const result = spawnSync('npm', words, {
    cwd,
    stdio: ['ignore', 2, 2],
    env,
    shell: process.platform === 'win32',
  })
  return result.status === 0
}

function onPath(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(folder, name)
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {}
  }
  return undefined
}

function redisServer() {
  const found = process.env.REDIS_SERVER ?? onPath('redis-server')
  if (found !== undefined) return found
  const quiet = { stdio: ['ignore', 2, 2], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  if (onPath('apt-get') !== undefined && process.getuid?.() === 0) {
    say('installing redis-server (apt-get)')
    spawnSync('apt-get', ['update', '-qq'], quiet)
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], quiet)
  } else if (onPath('brew') !== undefined) {
    say('installing redis (brew)')
    spawnSync('brew', ['install', 'redis'], quiet)
  }
  return (
    onPath('redis-server') ??
    giveUp(
      'Please install redis-server 7 or newer (Debian and Ubuntu: sudo apt-get install redis-server; macOS: brew install redis) and run this again.',
    )
  )
}

async function run() {
  const file = join(root, program)
  if (redis !== undefined) process.env.REDIS_SERVER = redis
  if (node === process.execPath) {
    process.argv.splice(1, process.argv.length, file, ...args)
    await import(pathToFileURL(file).href)
    return
  }
  const child = spawn(node, [file, ...args], { stdio: 'inherit' })
  // A terminal's Ctrl-C reaches the child by itself; this process only has to outlive it. A plain kill is passed on.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  process.on('SIGHUP', () => child.kill('SIGHUP'))
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)))
}
