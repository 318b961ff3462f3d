// Callers in a closed loop over raw sockets: an HTTP client would cost more than the gateways that are measured. One
// order a line on standard input, one line of figures for each on standard output.
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface LoadOrder {
  port: number
  path: string
  headers: Record<string, string>
  body: string
  connections: number
  durationMs: number
}

export interface LoadFigures {
  requests: number
  failed: number
  rps: number
  p50Ms: number
  p99Ms: number
  /** To the first byte of the answer's body. */
  firstByteP50Ms: number
}

const endOfHeaders = Buffer.from('\r\n\r\n')
const endOfChunks = Buffer.from('0\r\n\r\n')

class Caller {
  readonly #socket: Socket
  readonly #request: Buffer
  #sentAt = 0
  #head: Buffer = Buffer.alloc(0)
  #bodyLeft: number | undefined
  #inBody = false
  #firstByteAt = 0
  readonly latencies: number[] = []
  readonly firstBytes: number[] = []
  failed = 0
  #running = true
  readonly over: Promise<void>
  #end: () => void = () => undefined

  constructor(order: LoadOrder, request: Buffer) {
    this.#request = request
    this.over = new Promise((resolve) => (this.#end = resolve))
    this.#socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true }, () => this.#send())
    this.#socket.on('data', (chunk) => this.#read(chunk))
    this.#socket.on('error', () => undefined)
    this.#socket.on('close', () => {
      if (this.#running) this.failed++
      this.#end()
    })
  }

  stop(): void {
    this.#running = false
  }

  #send(): void {
    if (!this.#running) return void this.#socket.destroy()
    this.#head = Buffer.alloc(0)
    this.#inBody = false
    this.#firstByteAt = 0
    this.#sentAt = performance.now()
    this.#socket.write(this.#request)
  }

  #read(chunk: Buffer): void {
    let body = chunk
    if (!this.#inBody) {
      this.#head = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk])
      const end = this.#head.indexOf(endOfHeaders)
      if (end < 0) return
      const head = this.#head.toString('latin1', 0, end)
      if (!head.startsWith('HTTP/1.1 200')) {
        this.failed++
        if (this.failed === 1) console.error(head.split('\r\n', 1)[0], this.#head.toString('utf8', end).slice(0, 300))
      }
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
      this.#bodyLeft = length === undefined ? undefined : Number(length)
      this.#inBody = true
      body = this.#head.subarray(end + endOfHeaders.length)
      if (body.length === 0) return
    }
    if (this.#firstByteAt === 0) this.#firstByteAt = performance.now()
    if (this.#bodyLeft === undefined) {
      // An answer in chunks ends with an empty one; the streams that are measured never end in the middle of a mark.
      if (body.subarray(-endOfChunks.length).equals(endOfChunks)) this.#answered()
    } else {
      this.#bodyLeft -= body.length
      if (this.#bodyLeft <= 0) this.#answered()
    }
  }

  #answered(): void {
    this.latencies.push(performance.now() - this.#sentAt)
    this.firstBytes.push(this.#firstByteAt - this.#sentAt)
    this.#send()
  }
}

async function run(order: LoadOrder): Promise<LoadFigures> {
  const { path, headers, body, connections, durationMs } = order
  const fields = {
    host: '127.0.0.1',
    'content-type': 'application/json',
    ...headers,
    'content-length': Buffer.byteLength(body),
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  const request = Buffer.from(`POST ${path} HTTP/1.1\r\n${head.join('')}\r\n${body}`)
  const startedAt = performance.now()
  const callers = Array.from({ length: connections }, () => new Caller(order, request))
  await new Promise((resolve) => setTimeout(resolve, durationMs))
  for (const caller of callers) caller.stop()
  const seconds = (performance.now() - startedAt) / 1000
  const counted = callers.flatMap(({ latencies }) => latencies)
  await Promise.race([
    Promise.all(callers.map(({ over }) => over)),
    new Promise((resolve) => setTimeout(resolve, 10_000).unref()),
  ])
  return {
    requests: callers.reduce((sum, { latencies }) => sum + latencies.length, 0),
    failed: callers.reduce((sum, { failed }) => sum + failed, 0),
    rps: counted.length / seconds,
    p50Ms: percentile(counted, 0.5),
    p99Ms: percentile(counted, 0.99),
    firstByteP50Ms: percentile(
      callers.flatMap(({ firstBytes }) => firstBytes),
      0.5,
    ),
  }
}

function percentile(values: number[], share: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

console.log(JSON.stringify({ ready: true }))
const orders = createInterface({ input: process.stdin })
for await (const line of orders) console.log(JSON.stringify(await run(JSON.parse(line) as LoadOrder)))
process.exit(0)
