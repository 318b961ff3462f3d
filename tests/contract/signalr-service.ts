import { randomUUID } from 'node:crypto'
import { startSignalREmulator, type SignalREmulatorOptions } from '@sluice/emulator-signalr'
import { realAzure } from './real-azure.ts'
import { startSignalRApp, type SignalRApp } from './signalr-app.ts'

/** Whether the suites run against the real service; tests that set limits or the clock, or read the state, are left out then. */
export const onAzure = realAzure.signalR !== undefined

/**
 * An application on an emulator with these options or, on the real service, with hubs that nobody else uses: hubs need
 * no creation there.
 */
export const openSignalR = async (
  options: SignalREmulatorOptions = {},
): Promise<{ app: SignalRApp; close: () => Promise<void> }> => {
  if (realAzure.signalR !== undefined) {
    const app = await startSignalRApp(realAzure.signalR, `contract${randomUUID().slice(0, 8)}`)
    return { app, close: () => app.close() }
  }
  const emulator = await startSignalREmulator(options)
  const app = await startSignalRApp(emulator.connectionString)
  return {
    app,
    close: async () => {
      await app.close()
      await emulator.close()
    },
  }
}
