export { startCosmosEmulator, type CosmosEmulator, type CosmosEmulatorOptions } from './emulator.ts'
