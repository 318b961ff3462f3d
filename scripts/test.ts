import { runSteps, staticSteps, vitestStep } from './run-steps.ts'

const { failed } = await runSteps([...staticSteps, vitestStep('unit'), vitestStep('integration'), vitestStep('e2e')])
process.exit(failed === 0 ? 0 : 1)
