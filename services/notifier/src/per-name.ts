interface Closable {
  close(): Promise<unknown>
}

/** Things that are made when their name is first asked for, and closed together. */
export function perName<T extends Closable>(
  make: (name: string) => T,
): { of(name: string): T; close(): Promise<void> } {
  const made = new Map<string, T>()
  return {
    of(name) {
      const known = made.get(name) ?? make(name)
      made.set(name, known)
      return known
    },
    close: async () => void (await Promise.all([...made.values()].map((one) => one.close()))),
  }
}
