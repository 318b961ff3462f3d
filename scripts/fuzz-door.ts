import { parseArgs } from 'node:util'
import { fuzzRoutes } from '../tests/integration/fuzz-routes.ts'

// Fuzzes a running door for as long as one likes: node scripts/fuzz-door.ts --url $INGEST_URL --key $SLUICE_API_KEY
const { values } = parseArgs({
  options: {
    url: { type: 'string', default: process.env.INGEST_URL ?? 'http://127.0.0.1:7080' },
    key: { type: 'string', default: process.env.SLUICE_API_KEY ?? '' },
    seed: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '50' },
  },
})
const secret = 'only-the-other-tenant-knows'
const post = async (path: string, key: string, body: object) => {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const answer = await fetch(`${values.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as { id: string; key: string }
}
const theirs = await post('/v1/keys', values.key, { tenant: 'fuzz-other', scopes: ['admin'], name: secret })
const mine = await post('/v1/keys', values.key, { tenant: 'fuzz', scopes: ['admin'] })
const body = { model: 'auto', messages: [{ role: 'user', content: secret }] }
const line = { custom_id: secret, method: 'POST', url: '/v1/chat/completions', body }
const request = await post('/v1/requests', theirs.key, line)

const { requests, findings } = await fuzzRoutes({
  url: values.url,
  key: mine.key,
  seed: Number(values.seed),
  rounds: Number(values.rounds),
  ids: [request.id, theirs.id],
  secrets: [secret],
  timeoutMs: 30_000,
})
for (const finding of findings) console.log(JSON.stringify(finding))
console.log(`${requests} requests, ${findings.length} findings, seed ${values.seed}`)
process.exitCode = findings.length === 0 ? 0 : 1
