import { lookup } from 'node:dns/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { systemClock } from '@sluice/resilience'
import { afterEach, expect, test, vi } from 'vitest'
import { guardedLookup } from '../../services/notifier/src/address-guard.ts'
import { createHostResolver } from '../../services/notifier/src/host-resolver.ts'
import { createWebhookSender } from '../../services/notifier/src/webhook-sender.ts'
import { startNameServer, type Zone } from './name-server.ts'
import { eventually, finished, inlineSecret, platformOf, startReceiver } from './notifier-fixture.ts'

vi.setConfig({ testTimeout: 60_000 })

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

const platform = platformOf({
  contoso: { webhooks: { secrets: [inlineSecret], allow_hosts: ['127.0.0.1', 'receiver.test', 'half.test'] } },
  strict: { webhooks: { secrets: [inlineSecret] } },
})

/** A sender that resolves names by a server of the test's own. */
async function startWorld(zone: Zone, timeoutMs = 5_000) {
  const names = await startNameServer(zone)
  const sender = createWebhookSender({
    config: platform,
    clock: systemClock,
    timeoutMs,
    signal: new AbortController().signal,
    dnsServers: [names.address],
  })
  closing.push(names.close, () => sender.close())
  const post = (tenant: string, url: string) => {
    const event = finished(tenant)
    return sender.post(tenant, { url, secrets: [inlineSecret] }, event, Buffer.from(JSON.stringify(event)))
  }
  return { names, post }
}

test.each([
  ['a private address', { addresses: ['10.0.0.5'] }],
  ['this machine', { addresses: ['127.0.0.1'] }],
  ['the metadata service', { addresses: ['169.254.169.254'] }],
  ['a public address and a private one', { addresses: ['20.50.1.1', '192.168.1.1'] }],
  ['a public IPv4 address and a private IPv6 one', { addresses: ['20.50.1.1', 'fd00::1'] }],
  ['an alias of a private address', { alias: 'inside.example', addresses: ['172.16.0.1'] }],
  ['an IPv6 address that maps an IPv4 one', { addresses: ['::ffff:127.0.0.1'] }],
  ['an IPv6 address that embeds the metadata service', { addresses: ['64:ff9b::a9fe:a9fe'] }],
  ['the unspecified address', { addresses: ['0.0.0.0', '::'] }],
])('a name that stands for %s is refused at connect time', async (_, answer) => {
  const { post, names } = await startWorld(() => answer)
  await expect(post('strict', 'https://hooks.test/')).rejects.toMatchObject({
    code: 'delivery_refused',
    message: 'hooks.test is not a public address',
  })
  expect(names.asked).toContain('hooks.test A')
  expect(names.asked).toContain('hooks.test AAAA')
})

test('every connection asks again: a name that was public and is private now is refused', async () => {
  const answers = ['20.50.1.1', '127.0.0.1', '169.254.169.254']
  let turn = 0
  const names = await startNameServer((_, question) => ({ addresses: question === 'A' ? [answers[turn] ?? ''] : [] }))
  closing.push(names.close)
  const lookupOf = guardedLookup(createHostResolver([names.address]))
  const ask = () =>
    new Promise((resolve) => lookupOf('rebinds.test', { all: true }, (error, addresses) => resolve(error ?? addresses)))
  expect(await ask()).toEqual([{ address: '20.50.1.1', family: 4 }])
  for (turn = 1; turn < answers.length; turn++) expect(await ask()).toMatchObject({ code: 'delivery_refused' })
  expect(names.asked.filter((question) => question === 'rebinds.test A')).toHaveLength(3)
})

test('a name that is not there is a failure that is tried again, not a refusal', async () => {
  const { post } = await startWorld(() => undefined)
  await expect(post('strict', 'https://nowhere.test/')).rejects.toMatchObject({
    code: 'delivery_failed',
    message: 'no answer (ENOTFOUND)',
  })
})

test('while name servers hang, names that resolve are called, and the machine resolves its own', async () => {
  const receiver = await startReceiver()
  closing.push(() => receiver.close())
  const { names, post } = await startWorld((name, question) => {
    if (name.endsWith('.hangs.test')) return 'silence'
    return { addresses: question === 'A' ? ['127.0.0.1'] : [] }
  }, 2_000)
  const hanging = Array.from({ length: 80 }, (_, n) => post('strict', `https://n${n}.hangs.test/`))
  let ended = 0
  for (const call of hanging) void call.catch(() => ended++)
  await eventually(() => new Set(names.asked.filter((question) => question.endsWith('.hangs.test A'))).size === 80)
  const { port } = new URL(receiver.url)
  for (let n = 0; n < 5; n++) {
    await expect(post('contoso', `http://receiver.test:${port}/${n}`)).resolves.toMatchObject({ status: 204 })
    await expect(lookup('localhost')).resolves.toBeDefined()
  }
  expect(ended).toBe(0)
  // They are given up in bounded time, whichever limit comes first: the resolver's own, connecting, or the call's.
  const outcomes = await Promise.allSettled(hanging)
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(80)
})

test('a server that never answers for IPv6 delays a host that has IPv4 by a moment only', async () => {
  const server = createServer((_, response) => response.writeHead(204).end())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => new Promise((resolve) => server.close(resolve)))
  const { names, post } = await startWorld((_, question) =>
    question === 'A' ? { addresses: ['127.0.0.1'] } : 'silence',
  )
  const { port } = server.address() as AddressInfo
  await expect(post('contoso', `http://half.test:${port}/`)).resolves.toMatchObject({ status: 204 })
  // It did not wait for the second try.
  expect(names.asked.filter((question) => question === 'half.test AAAA')).toHaveLength(1)
})
