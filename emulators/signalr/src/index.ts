export { startSignalREmulator } from './start-signalr-emulator.ts'
export type { SignalREmulator, SignalREmulatorOptions } from './start-signalr-emulator.ts'
