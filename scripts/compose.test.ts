import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { configSchema as batchWorker } from '../services/batch-worker/src/config.ts'
import { configSchema as ingest } from '../services/ingest/src/config.ts'
import { configSchema as notifier } from '../services/notifier/src/config.ts'
import { configSchema as routerWorker } from '../services/router-worker/src/config.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const read = (path: string) => readFileSync(root + path, 'utf8')

interface Service {
  image?: string
  build?: string
  command?: string | string[]
  environment?: Record<string, string>
  network_mode?: string
  ports?: string[]
  volumes?: string[]
  healthcheck?: { test: string[] }
  depends_on?: Record<string, { condition: string }>
}

const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, null>
}
const withDefaults = (text: string) => text.replace(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1')
const service = (name: string): Service => compose.services[name] ?? {}
const words = (name: string) =>
  [service(name).command ?? []]
    .flat()
    .flatMap((part) => withDefaults(part).split(/\s+/))
    .map((word) => word.replaceAll("'", ''))

const schemas = { ingest, 'router-worker': routerWorker, 'batch-worker': batchWorker, notifier }
// The variables that every service has from the service kit, which exports no schema of them.
const kitNames = [...read('libs/service-kit/src/run-service.ts').matchAll(/^ {2}([A-Z][A-Z_]+):/gm)].map(
  ([, name]) => name,
)
const platformNames = [...read('config/sluice.yaml').matchAll(/^[^#\n]*\$\{([A-Z_]+)/gm)].map(([, name]) => name)

describe('docker-compose.yml', () => {
  it('has every process of the stack, and no other', () => {
    const emulators = ['amqp', 'cosmos', 'signalr', 'openai', 'azurite', 'redis']
    expect(new Set(Object.keys(compose.services))).toEqual(
      new Set([...Object.keys(schemas), ...emulators, 'network', 'provision']),
    )
  })

  it.each(Object.keys(compose.services))('%s: its command names files that exist', (name) => {
    const files = words(name).filter((word) => /\.(?:ts|js|json|yaml)$/.test(word) && !word.startsWith('/'))
    for (const file of files) expect(existsSync(root + file), file).toBe(true)
    if (!['redis', 'network'].includes(name)) expect(files.length).toBeGreaterThan(0)
  })

  it.each(Object.keys(compose.services))('%s: each flag of its command is one that the program knows', (name) => {
    const main = words(name).find((word) => /^emulators\/\w+\/src\/main\.ts$/.test(word))
    if (main === undefined) return
    const flags = words(name)
      .slice(words(name).indexOf(main))
      .filter((word) => word.startsWith('--'))
    for (const flag of flags) expect(read(main), flag).toContain(flag)
  })

  it.each(Object.entries(schemas))(
    '%s: its environment is what its schema and the configuration read',
    (name, schema) => {
      const env = service(name).environment ?? {}
      const known = new Set([...Object.keys(schema.shape), ...kitNames, ...platformNames])
      expect(Object.keys(env).filter((variable) => !known.has(variable))).toEqual([])
      expect(platformNames.filter((variable) => variable !== undefined && !(variable in env))).toEqual([])
      const values = Object.fromEntries(Object.entries(env).map(([variable, value]) => [variable, withDefaults(value)]))
      expect(schema.safeParse(values).error).toBeUndefined()
      expect(service(name).healthcheck?.test.join(' ')).toContain('/health/ready')
      expect(values.HEALTH_PORT).toMatch(/^\d+$/)
    },
  )

  it('gives no two processes of the shared network the same port', () => {
    const ports = Object.keys(compose.services).flatMap((name) => {
      const { PROBE_PORT, HEALTH_PORT, PORT } = service(name).environment ?? {}
      return [PROBE_PORT, HEALTH_PORT, PORT].filter((port) => port !== undefined)
    })
    expect(ports.length).toBeGreaterThan(8)
    expect(new Set(ports).size).toBe(ports.length)
  })

  it.each(['amqp', 'cosmos', 'signalr', 'openai', 'azurite'])('%s: listens where its health is asked for', (name) => {
    const port = service(name).environment?.PROBE_PORT
    const flag = words(name).findIndex((word) => word === '--port' || word === '--blobPort')
    expect(words(name)[flag + 1]).toBe(port)
  })

  it('publishes on loopback only, and only what listens on every address', () => {
    const open = Object.keys(compose.services)
      .filter((name) => words(name).includes('0.0.0.0'))
      .map((name) => service(name).environment?.PROBE_PORT)
    const published = (service('network').ports ?? []).map((port) => withDefaults(port))
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    // ingest's HOST is set in the image.
    expect(read('Dockerfile')).toMatch(/^ENV HOST=0\.0\.0\.0/m)
    expect(new Set(published.map((port) => port.split(':')[2]))).toEqual(
      new Set([...open, service('ingest').environment?.PORT]),
    )
  })

  it('shares one network, which the connection strings take for granted', () => {
    for (const [name, { network_mode: mode }] of Object.entries(compose.services)) {
      expect(mode, name).toBe(name === 'network' ? undefined : 'service:network')
    }
    const env = service('notifier').environment ?? {}
    const portOf = (name: string) => service(name).environment?.PROBE_PORT
    expect(env.SERVICE_BUS_CONNECTION_STRING).toContain(`sb://127.0.0.1:${portOf('amqp')};`)
    expect(env.EVENT_HUBS_CONNECTION_STRING).toContain(`sb://127.0.0.1:${portOf('amqp')};`)
    expect(env.AZURE_STORAGE_CONNECTION_STRING).toContain(`127.0.0.1:${portOf('azurite')}/`)
    expect(env.SIGNALR_CONNECTION_STRING).toContain(`Port=${portOf('signalr')};`)
    expect(env.COSMOS_ENDPOINT).toBe(`http://127.0.0.1:${portOf('cosmos')}/`)
    expect(env.OPENAI_TWIN_URL).toBe(`http://127.0.0.1:${portOf('openai')}`)
    expect(words('cosmos')).toContain(withDefaults(env.COSMOS_KEY ?? ''))
    const signalrKey = words('signalr')[words('signalr').indexOf('--access-key') + 1]
    expect(withDefaults(env.SIGNALR_CONNECTION_STRING ?? '')).toContain(`AccessKey=${signalrKey};`)
  })

  it('waits for services that exist, and for health only where there is a check', () => {
    for (const [name, { depends_on: needed = {} }] of Object.entries(compose.services)) {
      for (const [other, { condition }] of Object.entries(needed)) {
        expect(compose.services[other], `${name} waits for ${other}`).toBeDefined()
        if (condition === 'service_healthy')
          expect(service(other).healthcheck, `${name} waits for ${other}`).toBeDefined()
      }
    }
  })

  it('declares every volume that it mounts', () => {
    const mounted = Object.values(compose.services).flatMap(({ volumes = [] }) =>
      volumes.map((mount) => mount.split(':')[0]),
    )
    expect(new Set(mounted)).toEqual(new Set(Object.keys(compose.volumes)))
  })
})
