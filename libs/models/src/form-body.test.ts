import { expect, test } from 'vitest'
import { formBody } from './form-body.ts'

async function* bytes() {
  yield Buffer.from('RI')
  yield Buffer.from('FF')
}

/** What somebody else's parser makes of it. */
const parsed = async (fields: Record<string, unknown>, filename = 'a.wav') => {
  const upload = { filename, contentType: 'audio/wav', open: async () => bytes() }
  const { contentType, body } = formBody(fields, upload, bytes())
  const chunks: Buffer[] = []
  for await (const chunk of body) chunks.push(chunk as Buffer)
  const data = await new Response(Buffer.concat(chunks), { headers: { 'content-type': contentType } }).formData()
  const file = data.get('file')
  data.delete('file')
  return { fields: [...data.entries()], file: file as File }
}

test('fields are spelled as the SDKs spell them, and the file comes as it is', async () => {
  const { fields, file } = await parsed({
    model: 'whisper',
    temperature: 0,
    stream: false,
    language: null,
    timestamp_granularities: ['word', 'segment'],
    chunking_strategy: { type: 'server_vad', threshold: 0.5 },
  })
  expect(fields).toEqual([
    ['model', 'whisper'],
    ['temperature', '0'],
    ['stream', 'false'],
    ['timestamp_granularities[]', 'word'],
    ['timestamp_granularities[]', 'segment'],
    ['chunking_strategy[type]', 'server_vad'],
    ['chunking_strategy[threshold]', '0.5'],
  ])
  expect([file.name, file.type, await file.text()]).toEqual(['a.wav', 'audio/wav', 'RIFF'])
})

test('a name cannot add a header or a part', async () => {
  const { fields, file } = await parsed({ 'x"\r\ny: z': 'v\r\n--boundary' }, 'a"; name="model.wav')
  expect(fields).toEqual([['x"\r\ny: z', 'v\r\n--boundary']])
  expect(file.name).toBe('a"; name="model.wav')
})
