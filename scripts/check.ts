import { runSteps, staticSteps, vitestStep } from './run-steps.ts'

const { failed } = await runSteps([...staticSteps, vitestStep('unit', 2)])
process.exit(failed === 0 ? 0 : 1)
