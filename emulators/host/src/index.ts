export { type Connections, type EmulatorSet, startEmulators } from './emulator-set.ts'
export { freePort } from './process-specs.ts'
export { type Announcement, type ProcessEvent, type ProcessSpec, SupervisedProcess } from './supervised-process.ts'
