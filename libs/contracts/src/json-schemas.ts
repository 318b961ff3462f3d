import { z } from 'zod'
import { batchEventSchema } from './batch-event.ts'
import { batchSubmissionSchema } from './batch-submission.ts'
import { resultEventSchema } from './cloud-event.ts'
import { platformConfigSchema } from './platform-config.ts'
import { requestLineSchema } from './request-line.ts'
import { resultLineSchema } from './result-line.ts'

/** Every wire shape as a JSON Schema (draft 2020-12), by the name of its file in docs/schemas. */
export function jsonSchemas(): Record<string, object> {
  const schema = (shape: z.ZodType, io: 'input' | 'output', title: string) => ({
    title,
    ...z.toJSONSchema(shape, { io, unrepresentable: 'any' }),
  })
  return {
    'request-line': schema(requestLineSchema, 'input', 'Sluice request line'),
    'result-line': schema(resultLineSchema, 'output', 'Sluice result line'),
    'result-event': schema(resultEventSchema, 'output', 'Sluice result event (CloudEvents 1.0)'),
    'batch-event': schema(batchEventSchema, 'output', 'Sluice batch event (CloudEvents 1.0)'),
    'batch-submission': schema(batchSubmissionSchema, 'input', 'Sluice batch submission'),
    'platform-config': schema(platformConfigSchema, 'input', 'config/sluice.yaml'),
  }
}
