import { AppError } from '@sluice/errors'
import { expect, it } from 'vitest'
import { useExecutionBench } from './execution-bench.ts'

const bench = useExecutionBench()
const { start, on, called } = bench
const url = '/v1/audio/transcriptions' as const
const body = { model: 'm-whisper', language: 'sv' }
const both = () =>
  ['swedencentral', 'eastus2'].map((region) => on('whisper', region, { urls: [url], model: 'm-whisper' }))

const uploadOf = (read: () => AsyncIterable<Uint8Array>) => {
  let opened = 0
  const upload = {
    filename: 'a.wav',
    contentType: 'audio/wav',
    open: async () => {
      opened++
      return read()
    },
  }
  return { upload, opened: () => opened }
}
async function* whole() {
  yield Buffer.from('RIFF')
  yield Buffer.alloc(100_000, 'x')
}
async function* broken() {
  yield Buffer.from('RIFF')
  yield Buffer.alloc(100_000, 'x')
  throw new AppError('storage_unavailable', 'Blob Storage is away.')
}

it('a recording goes to the next deployment from its beginning when one fails', async () => {
  const { done } = await start(both())
  await bench.twin.post('faults', { type: 'status', status: 503, resource: 'swedencentral' })
  const { upload, opened } = uploadOf(whole)
  const outcome = await done(body, { url, upload })
  expect(outcome).toMatchObject({ status: 'succeeded', decision: { deployment: 'whisper-eastus2' } })
  expect(outcome.response).toMatchObject({ body: { text: expect.any(String) as string } })
  expect(opened()).toBe(2)
})

it('a storage that breaks off is no deployment’s fault: nobody else is asked, and the request may be tried again', async () => {
  const { run, done, admission } = await start(both())
  for (let turn = 0; turn < 6; turn++) {
    const { upload, opened } = uploadOf(broken)
    await expect(run(body, { url, upload })).rejects.toMatchObject({ code: 'storage_unavailable' })
    expect(opened()).toBe(1)
  }
  const names = ['whisper-swedencentral', 'whisper-eastus2']
  const states = await admission.states(names.map((name) => ({ name, tokensPerMinute: 1, requestsPerMinute: 1 })))
  expect(states.map(({ breaker }) => breaker)).toEqual(['closed', 'closed'])
  expect((await done(body, { url, upload: uploadOf(whole).upload })).status).toBe('succeeded')
})

it('a deployment that does not answer in time is one that failed, whatever becomes of the upload', async () => {
  const { run } = await start(both().map((one) => ({ ...one, timeout_ms: 300 })))
  await bench.twin.post('faults', { type: 'hang' })
  const outcome = await run(body, { url, upload: uploadOf(whole).upload })
  expect(outcome).toMatchObject({ kind: 'later', reason: 'failing' })
  expect(outcome.decision.attempts.map(({ code }) => code)).toEqual(['model_timeout', 'model_timeout'])
  expect(await called()).toHaveLength(2)
})

it('who cancels ends the call in the middle of its upload', async () => {
  const { run } = await start(both())
  const controller = new AbortController()
  const { upload } = uploadOf(async function* () {
    yield Buffer.from('RIFF')
    controller.abort(new AppError('cancelled', 'The caller cancelled the request.'))
    yield Buffer.alloc(100_000, 'x')
  })
  await expect(run(body, { url, upload, signal: controller.signal })).rejects.toMatchObject({ code: 'cancelled' })
})
