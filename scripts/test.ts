import { runSteps, staticSteps, vitestStep } from './run-steps.ts'

const { failed } = await runSteps([
  ...staticSteps,
  vitestStep('unit', 2),
  vitestStep('integration', 3),
  vitestStep('e2e', 1),
])
process.exit(failed === 0 ? 0 : 1)
