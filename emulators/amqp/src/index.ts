export { startAmqpEmulator } from './start-amqp-emulator.ts'
export type { AmqpEmulator, AmqpEmulatorOptions } from './start-amqp-emulator.ts'
