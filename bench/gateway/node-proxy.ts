// The floor: what node:http alone costs when it passes a request and its answer on. No key, no limit, no log.
import { Agent, createServer, request as httpRequest } from 'node:http'

const port = Number(process.argv[2])
const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

const server = createServer((request, response) => {
  const upstream = httpRequest(
    { host: '127.0.0.1', port, agent, method: request.method, path: request.url, headers: request.headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    },
  )
  upstream.on('error', () => response.destroy())
  request.pipe(upstream)
})
server.keepAliveTimeout = 120_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(JSON.stringify({ ready: true, port: typeof address === 'object' ? address?.port : 0 }))
})
process.stdin.on('end', () => process.exit(0)).resume()
