import { createHash } from 'node:crypto'
import { BlobServiceClient } from '@azure/storage-blob'
import { HubConnectionBuilder, LogLevel } from '@microsoft/signalr'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chatLine, eventually } from './test-stack.ts'
import {
  beyondScope,
  bodies,
  foreignBlobs,
  idsFor,
  listsOf,
  prompt,
  question,
  reply,
  startTwoTenants,
} from './two-tenants.ts'

// Two tenants of one platform. Northwind has something of everything; contoso's administrator knows every one of its ids
// and tries each of them on every route. Nothing of northwind's may be seen, changed, or be heard of by contoso.

let tenants: Awaited<ReturnType<typeof startTwoTenants>>
let before: string[]
beforeAll(async () => {
  tenants = await startTwoTenants()
  before = await tenants.seenByNorthwind()
}, 150_000)
afterAll(() => tenants.stop(), 60_000)

// A new route with an id fails here until it is said what its id is.
const withoutOwner = ['/v1/models/{id}', '/v1/signalr/groups/{group}/users/{user}']

test('no route that takes an id answers for another tenant', async () => {
  const { contoso, owned, call, refused, operations } = tenants
  const tried: string[] = []
  for (const { method, path } of await operations()) {
    if (!path.includes('{') || path.startsWith('/admin/') || withoutOwner.some((one) => path.endsWith(one))) continue
    const ids = idsFor(path, owned)
    expect(ids, `${method} ${path}: whose id is it?`).not.toEqual([])
    for (const id of ids) {
      const asked = path.replace('{id}', id).replace('{delivery}', owned.delivery)
      const answer = await call(contoso, method, asked, bodies[`${method} ${path}`])
      expect(answer.status, `${method} ${asked} ${answer.text}`).toBe(404)
      refused(answer, asked)
      tried.push(`${method} ${path}`)
    }
  }
  for (const door of ['/openai/v1', '/openai', '/openai-realtime/v1', '/openai-realtime/openai']) {
    for (const method of ['GET', 'DELETE']) {
      const answer = await call(contoso, method, `${door}/responses/${owned.response}`)
      expect(answer.status, `${door}/responses`).toBe(404)
      refused(answer, owned.response)
    }
  }
  for (const door of ['/openai/v1', '/openai', '/openai-sticky', '/openai-sticky/openai/v1', '/openai-sticky/openai']) {
    for (const path of [`files/${owned.file}`, `files/${owned.output}/content`, `batches/${owned.batch}`]) {
      const answer = await call(contoso, 'GET', `${door}/${path}`)
      expect(answer.status, `${door}/${path}`).toBe(404)
      refused(answer, path)
    }
  }
  expect(new Set(tried).size).toBeGreaterThan(18)
})

test('ids that are written in another way are no way around', async () => {
  const { contoso, owned, call, refused } = tenants
  for (const id of [
    `${owned.request}%00`,
    `..%2fnorthwind%2f${owned.request}`,
    `northwind%7c${owned.request}`,
    `northwind,${owned.request}`,
    encodeURIComponent(JSON.stringify(['northwind', owned.request])),
    `${owned.request}' OR c.tenant = 'northwind`,
  ]) {
    for (const path of [
      'requests',
      'requests/:/deliveries',
      'files',
      'files/:/content',
      'batches',
      'keys',
      'webhook-endpoints',
    ]) {
      const asked = path.includes(':') ? path.replace(':', id) : `${path}/${id}`
      const answer = await call(contoso, 'GET', `/v1/${asked}`)
      expect([400, 404], `${asked} ${answer.text}`).toContain(answer.status)
      refused(answer, decodeURIComponent(asked))
    }
  }
})

test('no list shows what is another tenant’s', async () => {
  const { contoso, owned, call, leaks, refused } = tenants
  for (const path of listsOf(owned)) {
    const answer = await call(contoso, 'GET', path)
    const said = decodeURIComponent(path)
    expect(
      leaks(answer.text).filter((word) => answer.status < 400 || !said.includes(word)),
      path,
    ).toEqual([])
    if (answer.status >= 400) refused(answer, said)
  }
  const { json } = await call(contoso, 'GET', '/v1/usage')
  expect(json).toMatchObject({ tenant: 'contoso', budget: { day_usd: 50 } })
})

test('an administrator of a tenant reaches neither the platform nor another tenant’s keys', async () => {
  const { contoso, call, keyOf, refused, operations } = tenants
  for (const { method, path } of await operations()) {
    if (!path.startsWith('/admin/')) continue
    const asked = path.replace('{lane}', 'requests-bulk').replace('{name}', 'gpt-4.1-eastus2')
    const answer = await call(contoso, method, asked, method === 'GET' ? undefined : {})
    expect(answer.status, `${method} ${asked}`).toBe(403)
    refused(answer)
  }
  for (const [method, path, body] of [
    ['POST', '/v1/keys', { tenant: 'northwind', scopes: ['read'] }],
    ['POST', '/v1/keys', { platform: true, scopes: ['admin'] }],
    ['GET', '/v1/keys?tenant=northwind', undefined],
  ] as const) {
    const answer = await call(contoso, method, path, body)
    expect(answer.status, `${method} ${path}`).toBe(403)
    refused(answer)
  }
  const { id } = await keyOf('contoso', ['admin'], contoso)
  expect((await call(contoso, 'PATCH', `/v1/keys/${id}`, { platform: true })).status).toBe(400)
})

test('a key does what its scopes say and nothing else; without one nothing is done', async () => {
  const { contoso, owned, call, keyOf, refused, operations } = tenants
  const [reader, submitter] = await Promise.all([
    keyOf('contoso', ['read'], contoso),
    keyOf('contoso', ['submit'], contoso),
  ])
  const refusals = beyondScope(reader.key, submitter.key, owned)
  for (const [key, method, path, body] of refusals) {
    const answer = await call(key, method, path, body)
    expect(answer.status, `${method} ${path} ${answer.text}`).toBe(403)
    refused(answer, path)
  }
  const open = ['/health', '/metrics', '/openapi.json', '/docs']
  for (const { method, path } of await operations()) {
    if (open.some((one) => path.startsWith(one))) continue
    for (const key of ['', 'sk-sluice-guess', owned.token]) {
      const answer = await call(
        key,
        method,
        path.replaceAll(/\{\w+\}/g, owned.request),
        method === 'GET' ? undefined : {},
      )
      expect(answer.status, `${method} ${path} ${key}`).toBe(401)
      refused(answer)
    }
  }
})

test('a line of one tenant cannot be sent as another’s, with its bodies, or to its receivers', async () => {
  const { stack, contoso, owned, call, send, refused, inboxUrl } = tenants
  const aim = async (sluice: object, status: number, param: string) => {
    const answer = await call(contoso, 'POST', '/v1/requests', chatLine('aim', question, sluice))
    expect([answer.status, (answer.json.error as { param?: string } | undefined)?.param], answer.text).toEqual([
      status,
      param,
    ])
    return answer
  }
  await aim({ tenant: 'northwind' }, 403, 'sluice.tenant')
  await aim({ priority: 'bulk' }, 403, 'sluice.priority')
  for (const queue of ['replies', 'replies-sessions', 'requests-standard', 'batches', 'results']) {
    await aim({ deliver: [{ type: 'service-bus', queue }] }, 400, 'sluice.deliver[0].queue')
  }
  for (const url of [inboxUrl, 'http://[::ffff:127.0.0.1]/', 'http://2130706433/', 'https://user:pass@example.com/']) {
    await aim({ deliver: [{ type: 'webhook', url }] }, 400, 'sluice.deliver[0].url')
  }
  const sync = await call(contoso, 'POST', '/v1/chat/completions', {
    ...chatLine('', question).body,
    sluice: { tenant: 'northwind' },
  })
  expect(sync.status).toBe(403)

  const blobs = BlobServiceClient.fromConnectionString(stack.env.AZURE_STORAGE_CONNECTION_STRING ?? '')
  const body = JSON.stringify(chatLine('', question).body)
  await blobs.getContainerClient('sluice').getBlockBlobClient('northwind/body.json').upload(body, body.length)
  const sha256 = createHash('sha256').update(body).digest('hex')
  for (const blob of foreignBlobs) {
    const body_ref = { blob, sha256, bytes: body.length, content_type: 'application/json' }
    const { body: _, ...line } = chatLine(`ref-${foreignBlobs.indexOf(blob)}`, question)
    const answer = await call(contoso, 'POST', '/v1/requests', { ...line, body_ref })
    expect([answer.status, (answer.json.error as { param?: string }).param], blob).toEqual([400, 'body_ref.blob'])
    refused(answer, blob)
    const message = { ...line, body_ref, sluice: { tenant: 'contoso' } }
    await send('requests-standard', { body: message, messageId: blob })
  }
  const stolen = { input_file_id: owned.file, endpoint: '/v1/chat/completions', completion_window: '24h' }
  const batch = await call(contoso, 'POST', '/v1/batches', stolen)
  expect([400, 404]).toContain(batch.status)
  refused(batch, JSON.stringify(stolen))
})

test('equal idempotency keys, prompts and sessions of two tenants stay apart', async () => {
  const { northwind, contoso, owned, made, upload } = tenants
  const mine = await made(contoso, '/v1/requests', chatLine('contoso-1', 'Say hello.'), { 'idempotency-key': 'same' })
  expect(mine.json.id).not.toBe(owned.request)
  const line = JSON.stringify(chatLine('contoso-line', 'Say hello.', {}, { model: 'gpt-4.1-mini' }))
  const start = {
    input_file_id: await upload(contoso, line),
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  }
  const batch = await made(contoso, '/v1/batches', start, { 'idempotency-key': 'same-batch' })
  expect(batch.json.id).not.toBe(owned.batch)

  for (const cache of ['exact', 'semantic']) {
    const ask = async (key: string) => {
      const body = { ...chatLine('', `${question} By ${cache}.`, {}, { max_tokens: 500 }).body, sluice: { cache } }
      const answer = await made(key, '/v1/chat/completions', body, { 'x-session-id': 'session' })
      return answer.headers.get('x-sluice-cache')
    }
    await ask(northwind)
    await eventually(async () => ((await ask(northwind)) === 'hit' ? true : undefined), `northwind's ${cache} answer`)
    expect(await ask(contoso), cache).toBeNull()
  }
})

test('SignalR users and groups of one tenant hear nothing of another’s', async () => {
  const { stack, northwind, contoso, secrets, call, made, ended } = tenants
  const heard: string[] = []
  const connection = new HubConnectionBuilder()
    .withUrl(`${stack.env.INGEST_URL}?user=u1`, { accessTokenFactory: () => northwind })
    .configureLogging(LogLevel.None)
    .build()
  connection.on('finished', (event: { data: { custom_id: string } }) => heard.push(event.data.custom_id))
  await connection.start()
  try {
    expect((await call(northwind, 'PUT', '/v1/signalr/groups/vip/users/u1')).status).toBe(204)
    for (const user of ['u1', 'northwind%7Cu1', '..%2Fnorthwind%7Cu1', 'u1%2Fgroups%2Fnorthwind%7Cvip']) {
      expect((await call(contoso, 'PUT', `/v1/signalr/groups/vip/users/${user}`)).status).toBe(204)
      const { json } = await made(contoso, `/negotiate?user=${user}`, undefined)
      const claims = JSON.parse(
        Buffer.from(String(json.accessToken).split('.')[1] ?? '', 'base64url').toString(),
      ) as Record<string, unknown>
      expect(
        Object.values(claims).filter((claim) => typeof claim === 'string' && claim.startsWith('northwind')),
      ).toEqual([])
      secrets.push(String(json.accessToken))
    }
    const deliver = [
      { type: 'signalr', user: 'u1' },
      { type: 'signalr', user: 'northwind|u1' },
      { type: 'signalr', user: '../users/northwind|u1' },
      { type: 'signalr', group: 'vip' },
      { type: 'signalr', group: 'northwind|vip' },
    ]
    const { json } = await made(contoso, '/v1/requests', chatLine('contoso-rings', 'Say hello.', { deliver }))
    await ended(contoso, String(json.id))
    await eventually(async () => {
      const all = (await call(contoso, 'GET', `/v1/requests/${json.id}/deliveries`)).json.data as
        | { status: string }[]
        | undefined
      return all?.length === deliver.length && all.every(({ status }) => status !== 'pending') ? true : undefined
    }, "contoso's deliveries")
    // Northwind's own comes after them on the same connection: whatever was misled would be there before.
    const own = [{ type: 'signalr', user: 'u1' }]
    await made(northwind, '/v1/requests', chatLine('northwind-rings', 'Say hello.', { deliver: own }))
    await eventually(() => (heard.includes('northwind-rings') ? true : undefined), "northwind's own message")
    expect(heard).toEqual(['northwind-rings'])
  } finally {
    await connection.stop()
  }
})

test('a message on a lane is answered for the tenants of that lane alone', async () => {
  const { serviceBus, contoso, call, keyOf, send, leaks } = tenants
  await send('requests-bulk', { body: chatLine('contoso-bulk', question, { tenant: 'contoso' }), messageId: 'bulk-1' })
  await send('requests-standard', {
    body: chatLine('contoso-reply', question, { tenant: 'contoso' }),
    messageId: 'reply-1',
    replyTo: 'replies',
  })
  // Broken in the middle of a prompt: what is wrong is told without the text around it.
  await send('requests-standard', {
    body: Buffer.from(`{"custom_id":"x","body":{"messages":["${prompt}" "${prompt}"]}}`),
    messageId: 'broken',
  })
  await send('requests-standard', {
    body: chatLine('odd-names', question, { tenant: 'constructor' }),
    messageId: 'odd',
  })
  await send('batches', {
    body: { custom_id: 'steal', input: { blob: 'northwind/body.json' }, sluice: { tenant: 'contoso' } },
    messageId: 'steal',
  })
  const deadLettered = async (queue: string, count: number) => {
    const found = await eventually(async () => {
      // A receiver goes on peeking where it stopped; a new one begins at the first message.
      const receiver = serviceBus.createReceiver(queue, { subQueueType: 'deadLetter' })
      const peeked = await receiver.peekMessages(50)
      await receiver.close()
      return peeked.length >= count ? peeked : undefined
    }, `dead letters of ${queue}`)
    return found.map(({ messageId, deadLetterReason, deadLetterErrorDescription }) => ({
      messageId,
      reason: deadLetterReason,
      text: deadLetterErrorDescription,
    }))
  }
  expect((await deadLettered('requests-bulk', 1)).map(({ reason }) => reason)).toEqual(['tenant_not_allowed'])
  const standard = await deadLettered('requests-standard', foreignBlobs.length + 2)
  expect(Object.fromEntries(standard.map(({ messageId, reason }) => [messageId, reason]))).toEqual({
    ...Object.fromEntries(foreignBlobs.map((blob) => [blob, 'body_ref_not_found'])),
    broken: 'invalid_json',
    'reply-1': 'invalid_line',
  })
  expect(JSON.stringify(standard)).not.toContain(prompt)
  const odd = await eventually(async () => {
    const key = await keyOf('constructor', ['read', 'submit'])
    const { json, status } = await call(key.key, 'GET', '/v1/requests')
    expect((await call(key.key, 'GET', '/v1/usage')).status).toBe(200)
    return status === 200 && json.data?.length === 1 ? json.data[0] : undefined
  }, 'the request of a tenant with a name of JavaScript’s own')
  expect(odd).toMatchObject({ custom_id: 'odd-names' })
  // The thief's own rows say that there is no such file; northwind's blob became nobody's requests.
  const { text } = await call(contoso, 'GET', '/v1/requests?limit=100')
  expect(leaks(text)).toEqual([])
})

test('after all of it northwind has what it had, its held request runs, and its answers are whole', async () => {
  const { platform, northwind, owned, made, ended, seenByNorthwind } = tenants
  const after = await seenByNorthwind()
  // The lists of requests and deliveries, and the spend, have grown by what northwind did itself.
  for (const at of [0, 1, 2, 5, 6, 7, 8, 9]) expect(after[at]).toBe(before[at])
  await made(platform, '/admin/lanes/requests-interactive/resume', undefined)
  const held = await ended(northwind, owned.held)
  expect(JSON.stringify(held.result)).toContain(reply)
})

test('no log line and no metric holds a key, a secret, a token, a prompt or an answer', async () => {
  const { stack, contoso, owned, secrets, call } = tenants
  await fetch(`${stack.controls.openai}/faults`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'status', status: 400, count: 2 }),
  })
  await call(contoso, 'POST', '/v1/chat/completions', chatLine('', question).body)
  await call(contoso, 'POST', '/v1/chat/completions', `{"messages":[{"role":"user","content":"${prompt}" oops`)
  await call(contoso, 'POST', `/v1/chat/completions?key=${secrets[0]}`, `{"sluice":{"deliver":"${prompt}"}}`)
  await call(contoso, 'POST', '/v1/requests', `{"custom_id":"${prompt}" oops`)
  await call(`${secrets[0]}x`, 'GET', `/v1/requests/${prompt}?key=${secrets[0]}`)
  const words = [prompt, reply, ...secrets]
  const all = stack.logs.join('\n')
  expect(all).toContain(owned.request)
  for (const word of words) expect(all.split('\n').filter((line) => line.includes(word))).toEqual([])
  for (const service of ['INGEST', 'ROUTER_WORKER', 'BATCH_WORKER', 'NOTIFIER']) {
    const metrics = await (await fetch(`${stack.env[`${service}_HEALTH_URL`]}/metrics`)).text()
    for (const word of [...words, ...Object.values(owned)]) expect(metrics, service).not.toContain(word)
  }
})
