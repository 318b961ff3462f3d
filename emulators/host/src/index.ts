export { type EmulatorSet, startEmulators } from './emulator-set.ts'

export { type Announcement, type ProcessEvent, type ProcessSpec, SupervisedProcess } from './supervised-process.ts'
