// The barest AMQP peer that the SDKs will talk to: it signs everybody in, accepts every transfer without looking at it,
// and sends the same message for as long as there is credit. Nothing is stored, locked, counted or filtered, so what it
// reaches is what rhea and the SDK allow.
import { randomBytes } from 'node:crypto'
import rhea, { type Connection, type EventContext, type Receiver, type Sender } from 'rhea'

// Credit and outcomes are given by hand: a window of rhea's own would be topped up with a flow per message.
const manual = { autoaccept: false, credit_window: 0 }
const container = rhea.create_container({
  max_frame_size: 65_536,
  channel_max: 255,
  receiver_options: manual,
  sender_options: { autosettle: false },
})
const payload = Buffer.alloc(1024, 'x')

const addressOf = (terminus: { address?: string } | undefined) => terminus?.address ?? ''

container.on('receiver_open', ({ receiver }: EventContext) => {
  const link = receiver as Receiver
  link.set_target({ address: addressOf(link.target) })
  link.add_credit(2000)
})

container.on('sender_open', ({ sender }: EventContext) => {
  const link = sender as Sender
  link.set_source({ address: addressOf(link.source) })
})

// rhea keeps a delivery that this side settles first until it is told that the other side has settled it too.
const settle = (delivery: unknown) => {
  if (delivery !== undefined) (delivery as { remote_settled: boolean }).remote_settled = true
}

const accepted = (rhea.message as unknown as { accepted(): { described(): object } }).accepted().described()

container.on('accepted', ({ delivery }: EventContext) => {
  delivery?.update(true, accepted)
  settle(delivery)
})

container.on('message', ({ receiver, message: received, delivery, connection }: EventContext) => {
  const link = receiver as Receiver
  if (addressOf(link.target) === '$cbs') {
    delivery?.accept()
    reply(connection, received as { message_id: string })
    return
  }
  delivery?.accept()
  settle(delivery)
  if ((link as unknown as { credit: number }).credit < 1000) link.add_credit(1000)
})

function reply(connection: Connection, request: { message_id: string }): void {
  connection.each_sender((link: Sender) => {
    if (addressOf(link.source) !== '$cbs') return
    link.send({
      correlation_id: request.message_id,
      application_properties: {
        'status-code': 202,
        'status-description': 'Accepted',
        statusCode: 202,
        statusDescription: 'Accepted',
      },
      body: '',
    })
  })
}

// Encoded once: every message is the same to the byte, but for its delivery tag, which is its lock token.
const now = Date.now()
const encoded = rhea.message.encode({
  message_id: 'bare',
  delivery_count: 0,
  message_annotations: {
    'x-opt-sequence-number': rhea.types.wrap_long(1),
    'x-opt-offset': '1',
    'x-opt-enqueued-time': rhea.types.wrap_timestamp(now),
    'x-opt-locked-until': rhea.types.wrap_timestamp(now + 3_600_000),
  },
  body: rhea.message.data_section(payload),
})

container.on('sendable', ({ sender }: EventContext) => {
  const link = sender as Sender
  const address = addressOf(link.source)
  if (address === '$cbs' || address.endsWith('$management')) return
  while (link.sendable()) link.send(encoded, randomBytes(16), 0)
})

const server = container.listen({ port: 0, host: '127.0.0.1' })
server.on('listening', () => {
  const address = server.address()
  console.log(JSON.stringify({ ready: true, port: typeof address === 'object' ? address?.port : 0 }))
})
process.stdin.on('end', () => process.exit(0)).resume()
