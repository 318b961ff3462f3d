import { AppError } from '@sluice/errors'
import { expect, test } from 'vitest'
import { createLogger, type Logger } from './index.ts'

function capture(level: 'debug' | 'info' = 'info'): {
  logger: Logger
  lines: Record<string, unknown>[]
  text: () => string
} {
  const written: string[] = []
  const lines: Record<string, unknown>[] = []
  const destination = {
    write: (line: string) => {
      written.push(line)
      lines.push(JSON.parse(line) as Record<string, unknown>)
    },
  }
  return { logger: createLogger({ service: 'test', level, destination }), lines, text: () => written.join('') }
}

test('a line carries ISO time, the level by name, the service and the fields', () => {
  const { logger, lines } = capture()
  logger.child({ requestId: 'req_1', tenant: 'contoso' }).info({ lane: 'bulk', ms: 12 }, 'handled')
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      service: 'test',
      requestId: 'req_1',
      tenant: 'contoso',
      lane: 'bulk',
      ms: 12,
      msg: 'handled',
    },
  ])
})

test('levels below the chosen one write nothing', () => {
  const { logger, lines } = capture('info')
  logger.debug({ a: 1 }, 'no')
  logger.warn('yes')
  expect(lines.map((line) => line.msg)).toEqual(['yes'])
})

test.each([
  ['a field', { authorization: 'Bearer hunter2' }],
  ['a header in a nested object', { request: { options: { Headers: { 'api-key': 'hunter2' } } } }],
  ['a key in snake case', { config: { api_key: 'hunter2', sharedAccessKey: 'hunter2' } }],
  ['a variable of the environment', { env: { SERVICE_BUS_CONNECTION_STRING: 'hunter2', WEBHOOK_SECRET: 'hunter2' } }],
  ['a prompt', { line: { body: { messages: [{ role: 'user', content: 'hunter2' }] } } }],
  ['an answer in an array', { choices: [{ message: { content: 'hunter2' } }] }],
  ['bytes', { payload: Buffer.from('hunter2') }],
  ['a key of Sluice in a sentence', { note: 'sk-sluice-hunter2hunter2 is unknown' }],
  ['a webhook secret in a sentence', { note: 'whsec_hunter2hunter2 does not sign' }],
  ['a realtime token in a url', { note: '/v1/realtime?key=ek_hunter2hunter2' }],
  ['a connection string in a sentence', { note: 'cannot reach Endpoint=sb://x/;SharedAccessKey=hunter2;Foo=1' }],
  ['a SAS url', { url: 'https://a.blob.core.windows.net/c/b?sv=1&sig=hunter2&se=3' }],
  ['a password in a url', { url: 'redis://user:hunter2@localhost:6379' }],
  ['an access token', { accessToken: 'hunter2' }],
])('%s never reaches the log', (_, fields) => {
  const { logger, text } = capture()
  logger.info(fields, 'x')
  logger.child(fields).info('x')
  logger.error({ err: Object.assign(new Error('failed'), fields, { config: fields, request: fields }) }, 'x')
  expect(text()).not.toContain('hunter2')
})

test('credentials quoted in a message are cut out of it', () => {
  const { logger, text } = capture()
  logger.info('SharedAccessKey=hunter2;rest')
  logger.error(
    { err: new Error('401 for Bearer hunter2', { cause: new Error('AccountKey=hunter2') }) },
    'Bearer hunter2',
  )
  expect(text()).not.toContain('hunter2')
  expect(text()).toContain('[redacted];rest')
})

test('token counts and content types are no secrets', () => {
  const { logger, lines } = capture()
  logger.info({ usage: { input_tokens: 3 }, contentType: 'application/json', tokens: 4 }, 'x')
  expect(lines[0]).toMatchObject({ usage: { input_tokens: 3 }, contentType: 'application/json', tokens: 4 })
})

test('an AppError is logged with its code, param and causes', () => {
  const { logger, lines } = capture()
  const cause = Object.assign(new Error('socket closed'), { code: 'ECONNRESET' })
  logger.warn({ err: new AppError('invalid_line', 'url: missing', { param: 'url', cause }) }, 'refused')
  expect(lines[0]?.err).toMatchObject({
    type: 'AppError',
    code: 'invalid_line',
    param: 'url',
    message: 'url: missing',
    cause: { type: 'Error', code: 'ECONNRESET' },
  })
})

test('circular, huge and exotic values are bounded instead of fatal', () => {
  const { logger, lines, text } = capture()
  const circle: Record<string, unknown> = { big: 10n ** 20n, when: new Date(0), long: 'x'.repeat(100_000) }
  circle.self = circle
  circle.many = Array.from({ length: 10_000 }, (_, index) => index)
  const error = new Error('loop')
  error.cause = error
  logger.info({ circle, err: error }, 'still here')
  expect(lines[0]?.msg).toBe('still here')
  expect(text().length).toBeLessThan(60_000)
})

test('a line is JSON whatever its fields hold, and fields without a value are left out', () => {
  const { logger, lines, text } = capture()
  const fields = {
    'a "name"\n': 'a "text"\\ with \u0001 and é',
    nothing: undefined,
    nan: Number.NaN,
    no: false,
    none: null,
    list: [1, undefined],
    call() {},
    broken: {
      toJSON() {
        throw new Error('x')
      },
    },
  }
  logger.info(fields, 'a "message"\n')
  const { level, time, service, ...rest } = lines[0] ?? {}
  expect([level, typeof time, service]).toEqual(['info', 'string', 'test'])
  expect(rest).toEqual({
    'a "name"\n': 'a "text"\\ with \u0001 and é',
    nan: null,
    no: false,
    none: null,
    list: [1, null],
    broken: '[unprintable]',
    msg: 'a "message"\n',
  })
  expect(text().split('\n')).toHaveLength(2)
})

test('an error alone is logged by its fields', () => {
  const { logger, lines } = capture()
  logger.error(new AppError('no_route', 'nobody'), 'failed')
  expect(lines[0]).toMatchObject({ type: 'AppError', code: 'no_route', message: 'nobody', msg: 'failed' })
})
