// The model at the end of every path that is measured: it answers at once, after a pause, or as a stream, from bytes that
// were made before. Nothing is parsed: it looks for the words `"stream":true` and, in the path, `/slow/`.
import { createServer, type ServerResponse } from 'node:http'

const slowMs = 60
const streamChunks = 40
const chunkEveryMs = 15

const answer = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: 'gpt-4.1-mini-2025-04-14',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'A queue keeps what a limit refuses. '.repeat(16), refusal: null },
        finish_reason: 'stop',
        logprobs: null,
      },
    ],
    usage: { prompt_tokens: 220, completion_tokens: 128, total_tokens: 348 },
    system_fingerprint: 'fp_bench',
  }),
)
const answerHeaders = { 'content-type': 'application/json', 'content-length': answer.length }
const frame = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'gpt-4.1-mini' }
const event = (fields: object) => Buffer.from(`data: ${JSON.stringify({ ...frame, ...fields })}\n\n`)
const delta = (content: object, finish: string | null = null) =>
  event({ choices: [{ index: 0, delta: content, logprobs: null, finish_reason: finish }], usage: null })
const first = delta({ role: 'assistant', content: 'Word' })
const next = delta({ content: ' another' })
const last = Buffer.concat([
  delta({}, 'stop'),
  event({ choices: [], usage: { prompt_tokens: 220, completion_tokens: 40, total_tokens: 260 } }),
  Buffer.from('data: [DONE]\n\n'),
])

const server = createServer((request, response) => {
  let streams = false
  request.on('data', (chunk: Buffer) => (streams ||= chunk.includes('"stream":true')))
  request.on('end', () => {
    if (streams) stream(response)
    else if (request.url?.includes('/slow/') === true) setTimeout(() => whole(response), slowMs)
    else whole(response)
  })
})
server.keepAliveTimeout = 120_000

const whole = (response: ServerResponse) => response.writeHead(200, answerHeaders).end(answer)

function stream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(first)
  let sent = 1
  const timer = setInterval(() => {
    if (++sent < streamChunks) return void response.write(next)
    clearInterval(timer)
    response.end(last)
  }, chunkEveryMs)
  response.on('close', () => clearInterval(timer))
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(JSON.stringify({ ready: true, port: typeof address === 'object' ? address?.port : 0 }))
})
process.stdin.on('end', () => process.exit(0)).resume()
