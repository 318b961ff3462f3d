import { defineConfig } from 'vitest/config'

// The three kinds differ in what they may start: unit tests start nothing, integration and contract tests start
// emulators and a redis-server, e2e tests start the whole stack.
const project = (name: string, include: string[], testTimeout: number) => ({
  test: { name, include, testTimeout, hookTimeout: 60_000, environment: 'node' as const, pool: 'forks' as const },
})

export default defineConfig({
  test: {
    projects: [
      project(
        'unit',
        ['{libs,services,emulators}/**/src/**/*.test.ts', 'stack/src/**/*.test.ts', 'scripts/**/*.test.ts'],
        10_000,
      ),
      project('integration', ['tests/{contract,integration}/**/*.test.ts'], 30_000),
      { test: { ...project('e2e', ['tests/{e2e,fault}/**/*.test.ts'], 180_000).test, fileParallelism: false } },
    ],
  },
})
