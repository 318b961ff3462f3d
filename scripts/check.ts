import { runSteps, staticSteps, vitestStep } from './run-steps.ts'

const { failed } = await runSteps([...staticSteps, vitestStep('unit')])
process.exit(failed === 0 ? 0 : 1)
