import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { issueClientSecret } from '../../services/ingest/src/realtime/client-secrets.ts'
import { caller, eventually, useRealtimeDoor } from './realtime-fixture.ts'

const rt = useRealtimeDoor()

/** As much of an element as the page's script uses. */
class Element extends EventTarget {
  value = ''
  textContent = ''
  disabled = false
  readonly #button: Element | undefined

  constructor(button?: Element) {
    super()
    this.#button = button
  }

  querySelector(): Element | undefined {
    return this.#button
  }

  submit(): void {
    this.dispatchEvent(new Event('submit', { cancelable: true }))
  }
}

/** The example page's own script over its elements, with the WebSocket that Node has from the browsers' standard. */
function openPage() {
  const html = readFileSync('docs/examples/realtime.html', 'utf8')
  const script = /<script type="module">([^]*?)<\/script>/.exec(html)?.[1] ?? ''
  const ids = [...html.matchAll(/\bid="(\w+)"/g)].map(([, id]) => id ?? '')
  const button = new Element()
  button.disabled = true
  const elements = new Map(ids.map((id) => [id, new Element(id === 'say' ? button : undefined)]))
  const at = (id: string): Element => {
    const found = elements.get(id)
    if (found === undefined) throw new Error(`the page has no #${id}`)
    return found
  }
  class Tracked extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols)
      rt.sockets.push(this)
    }
  }
  runInNewContext(script, { document: { getElementById: at }, WebSocket: Tracked, JSON })
  return { at, button }
}

test('the example page talks through a realtime WebSocket with an ephemeral token and no key', async () => {
  const { value } = await issueClientSecret(rt.secrets, caller, {
    session: { type: 'realtime', model: 'gpt-realtime' },
  })
  const { at, button } = openPage()
  at('url').value = `ws://127.0.0.1:${rt.port}`
  at('token').value = value
  at('connect').submit()
  await eventually(() => at('state').textContent.startsWith('connected to '), 'connection')
  expect(button.disabled).toBe(false)
  at('text').value = 'Where is it? [answer=Lund]'
  at('say').submit()
  await eventually(() => /You: Where is it\?.*\nModel: [^]*Lund[^]*\n$/.test(at('talk').textContent), 'answer')
  rt.sockets[0]?.close()
  await eventually(() => at('state').textContent.startsWith('closed (1005'), 'the end')
  expect(button.disabled).toBe(true)
})

test('a token that is no token gets the page nowhere', async () => {
  const { at, button } = openPage()
  at('url').value = `ws://127.0.0.1:${rt.port}`
  at('token').value = 'ek_invented'
  at('connect').submit()
  await eventually(() => at('state').textContent.startsWith('closed (1006'), 'refusal')
  expect(button.disabled).toBe(true)
})
