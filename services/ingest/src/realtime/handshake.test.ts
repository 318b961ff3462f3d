import { expect, it } from 'vitest'
import { readHandshake } from './handshake.ts'

it('takes what is no address for none of its paths', () => {
  for (const url of ['//', '//:0/v1/realtime?key=k', 'http://[/v1/realtime', '/v1/elsewhere']) {
    expect(readHandshake({ url, headers: {} }), url).toBeUndefined()
  }
})

it('passes the query on without what would choose another account, model or session', () => {
  const url = '/v1/realtime?model=a&deployment=b&key=c&api-key=d&call_id=rtc_1&intent=transcription&call_id=rtc_2'
  expect(readHandshake({ url, headers: {} })?.query.toString()).toBe('intent=transcription')
})
