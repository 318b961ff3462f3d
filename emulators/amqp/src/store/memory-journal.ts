import type { Journal } from './journal.ts'

const nothing = (): void => undefined

/** The journal of an emulator without a data directory: nothing outlives the process, so everything is committed at once. */
export const memoryJournal = (): Journal => {
  const ids = new Map<string, number>()
  return {
    entityId(path) {
      const id = ids.get(path) ?? ids.size + 1
      ids.set(path, id)
      return id
    },
    insertMessage: nothing,
    updateMessage: nothing,
    replaceMessage: nothing,
    readBare: undefined,
    removeMessage: nothing,
    saveSequence: nothing,
    saveSessionState: nothing,
    saveSessionLock: nothing,
    saveDuplicate: nothing,
    saveRules: nothing,
    appendEvent: nothing,
    removeEventsBefore: nothing,
    afterCommit: (run) => run(),
    restore: (visitor) => visitor.run(1),
    reset: nothing,
    close: nothing,
  }
}
