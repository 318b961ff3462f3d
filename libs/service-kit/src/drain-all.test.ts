import { createLogger } from '@sluice/telemetry'
import { expect, test } from 'vitest'
import { drainAll } from './index.ts'

test('steps run one after the other, also after one that failed or threw', async () => {
  const ran: string[] = []
  const lines: string[] = []
  const logger = createLogger({ service: 'x', destination: { write: (line) => lines.push(line) } })
  await drainAll(
    [
      ['receive', async () => (await new Promise((resolve) => setImmediate(resolve)), ran.push('receive'))],
      ['handlers', () => Promise.reject(new Error('stuck'))],
      [
        'renewals',
        () => {
          throw new Error('broken')
        },
      ],
      ['links', async () => ran.push('links')],
    ],
    logger,
  )
  expect(ran).toEqual(['receive', 'links'])
  expect(lines.map((line) => (JSON.parse(line) as { step: string }).step)).toEqual(['handlers', 'renewals'])
})
