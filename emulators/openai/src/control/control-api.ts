import type { IncomingMessage, ServerResponse } from 'node:http'
import { applyControl, deploymentOf, parseControlAction } from './control-actions.ts'
import { ExchangeClosed } from '../http/exchange.ts'
import { isObject, numberOf, objectOf } from '../json-fields.ts'
import type { Json } from '../json-fields.ts'
import { readJson, readJsonValue } from '../http/request-body.ts'
import type { Twin } from '../twin.ts'

function state(twin: Twin): Json {
  return {
    now: twin.clock.now(),
    rate: twin.clock.rate,
    seed: twin.seed,
    calls: twin.calls.total,
    open_calls: twin.open.size,
    faults: twin.faults.list(),
    deployments: [...twin.resources.values()].flatMap((resource) =>
      [...resource.deployments.values()].map((one) => one.state()),
    ),
  }
}

async function moveClock(twin: Twin, body: Json): Promise<Json> {
  const advance = numberOf(body['advanceMs'])
  const rate = numberOf(body['rate'])
  const now = numberOf(body['now'])
  if (advance === undefined && rate === undefined && now === undefined)
    throw new TypeError('expected advanceMs, now or rate')
  if (rate !== undefined) twin.clock.setRate(rate)
  if (now !== undefined) twin.clock.set(now)
  if (advance !== undefined) twin.clock.advance(advance)
  // The answer comes when batches have caught up, so that what is read next belongs to the new time.
  await twin.batches.settle()
  return { now: twin.clock.now(), rate: twin.clock.rate }
}

async function reset(twin: Twin): Promise<Json> {
  await twin.batches.clear()
  await twin.files.clear()
  twin.faults.clear()
  twin.calls.clear()
  twin.promptCache.clear()
  twin.responses.clear()
  twin.evictions.clear()
  twin.secrets.clear()
  for (const resource of twin.resources.values())
    for (const deployment of resource.deployments.values()) deployment.reset()
  return { reset: true }
}

function rotateKeys(twin: Twin, body: Json): Json {
  const resource = twin.resources.get(String(body['resource']))
  const keys = body['keys']
  if (!resource) throw new TypeError(`there is no resource ${String(body['resource'])}`)
  if (!Array.isArray(keys) || keys.length === 0 || !keys.every((key) => typeof key === 'string' && key !== '')) {
    throw new TypeError('keys must be a list of non-empty strings')
  }
  resource.settings.keys = keys as string[]
  return { resource: resource.settings.name, keys: keys.length }
}

function answerGet(twin: Twin, path: string, query: URLSearchParams): object | undefined {
  if (path === 'state') return state(twin)
  if (path === 'faults') return { faults: twin.faults.list() }
  if (path === 'clock') return { now: twin.clock.now(), rate: twin.clock.rate }
  if (path === 'calls') {
    const from = Number(query.get('from') ?? 0)
    const limit = Number(query.get('limit') ?? 1_000)
    if (!Number.isInteger(from) || from < 0 || !Number.isInteger(limit) || limit < 1)
      throw new TypeError('from and limit must be whole numbers')
    return twin.calls.read(from, Math.min(limit, 10_000))
  }
  return undefined
}

async function answer(twin: Twin, req: IncomingMessage): Promise<object | undefined> {
  const url = new URL(req.url ?? '/', 'http://twin')
  const path = url.pathname.slice('/_control/'.length)
  if (req.method === 'GET') return answerGet(twin, path, url.searchParams)
  if (req.method === 'DELETE' && path === 'faults') {
    twin.faults.clear()
    return { faults: [] }
  }
  if (req.method === 'DELETE' && path.startsWith('faults/')) return { removed: twin.faults.remove(path.slice(7)) }
  if (req.method !== 'POST') return undefined
  if (path === 'reset') {
    req.resume()
    return reset(twin)
  }
  if (path === 'faults') {
    const body = await readJsonValue(req)
    const faults = isObject(body) && 'faults' in body ? body['faults'] : body
    return { faults: applyControl(parseControlAction({ faults }, twin), twin) }
  }
  const body = await readJson(req)
  if (path === 'actions') return { faults: applyControl(parseControlAction(body, twin), twin) }
  if (path === 'deployments') {
    const deployment = deploymentOf(body, twin)
    deployment.change(objectOf(body['settings']))
    return deployment.state()
  }
  if (path === 'evict') {
    applyControl(parseControlAction({ evict: body }, twin), twin)
    return twin.evictions.document(String(body['resource']), String(body['deployment']))
  }
  if (path === 'restore') {
    twin.evictions.restore(deploymentOf(body, twin))
    return { restored: body['deployment'] }
  }
  if (path === 'keys') return rotateKeys(twin, body)
  if (path === 'clock') return moveClock(twin, body)
  return undefined
}

/** The control API under /_control/: JSON in, JSON out, 400 with a sentence for what it cannot do. Never throws. */
export async function serveControl(twin: Twin, req: IncomingMessage, res: ServerResponse): Promise<void> {
  let status = 200
  let body: object | undefined
  try {
    body = await answer(twin, req)
    if (!body) {
      status = 404
      body = { error: 'the control API has no such path' }
      req.resume()
    }
  } catch (error) {
    if (error instanceof ExchangeClosed) return
    status = 400
    body = { error: error instanceof Error ? error.message : String(error) }
  }
  const text = Buffer.from(JSON.stringify(body))
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': text.byteLength })
  res.end(text)
}
