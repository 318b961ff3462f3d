/** Bytes that are not the AMQP 1.0 encoding they should be. Thrown by the readers in this folder, caught per link or per delivery. */
export class AmqpDecodeError extends Error {
  override readonly name = 'AmqpDecodeError'
}
