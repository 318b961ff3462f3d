export { type Connections, type EmulatorSet, startEmulators } from './emulator-set.ts'
export { freePort, jsonReadyLine } from './process-specs.ts'
export { type ProcessEvent, SupervisedProcess } from './supervised-process.ts'
