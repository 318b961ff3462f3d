import { randomUUID } from 'node:crypto'

export const lineBytes = 1_000
const linesAtOnce = 64

/** A batch line of `lineBytes` bytes with its line break. */
function line(n: number): string {
  const json = (content: string) =>
    JSON.stringify({
      custom_id: `line-${n}`,
      method: 'POST',
      url: '/v1/chat/completions',
      body: { model: 'gpt-4.1-mini', messages: [{ role: 'user', content }], max_tokens: 50 },
    })
  return `${json('x'.repeat(lineBytes - 1 - json('').length))}\n`
}

async function* form(boundary: string, lines: number): AsyncGenerator<Uint8Array> {
  yield Buffer.from(`--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n`)
  const head = 'content-disposition: form-data; name="file"; filename="lines.jsonl"\r\ncontent-type: application/jsonl'
  yield Buffer.from(`--${boundary}\r\n${head}\r\n\r\n`)
  for (let from = 0; from < lines; from += linesAtOnce) {
    const count = Math.min(linesAtOnce, lines - from)
    yield Buffer.from(Array.from({ length: count }, (_, n) => line(from + n)).join(''))
  }
  yield Buffer.from(`\r\n--${boundary}--\r\n`)
}

/** Uploads a file that exists nowhere as a whole: its lines are made while they are sent. @throws when it is refused */
export async function upload(
  { url, key }: { url: string; key: string },
  lines: number,
  withinMs: number,
): Promise<{ id: string; bytes: number; sluice: { lines: number } }> {
  const boundary = `bench-${randomUUID()}`
  const answer = await fetch(`${url}/v1/files`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': `multipart/form-data; boundary=${boundary}` },
    body: ReadableStream.from(form(boundary, lines)) as ReadableStream<Uint8Array<ArrayBuffer>>,
    duplex: 'half',
    signal: AbortSignal.timeout(withinMs),
  })
  if (!answer.ok) throw new Error(`upload: ${answer.status} ${(await answer.text()).slice(0, 300)}`)
  return (await answer.json()) as { id: string; bytes: number; sluice: { lines: number } }
}
