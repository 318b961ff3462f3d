import { describe, expect, it } from 'vitest'
import { HeldBodies } from './held-bodies.ts'

const refused = expect.objectContaining({ code: 'no_capacity', status: 503 }) as Error

describe('bodies that are held', () => {
  it('are counted once, as far as they have come, until their call is over', () => {
    const bodies = new HeldBodies(100)
    const body = bodies.open('contoso')
    body.reach(10)
    body.reach(10)
    body.reach(30)
    expect(bodies.bytes).toBe(30)
    body.free()
    body.free()
    expect(bodies.bytes).toBe(0)
  })

  it('of one tenant leave half of the room to the others', () => {
    const bodies = new HeldBodies(100)
    const [one, two] = [bodies.open('contoso'), bodies.open('contoso')]
    one.reach(40)
    expect(() => two.reach(11)).toThrow(refused)
    two.reach(10)
    const other = bodies.open('fabrikam')
    other.reach(50)
    expect(() => bodies.open('adatum').reach(1)).toThrow(refused)
    one.free()
    two.reach(20)
    expect(bodies.bytes).toBe(70)
  })

  it('may be one that is larger than half', () => {
    const bodies = new HeldBodies(100)
    const body = bodies.open('contoso')
    body.reach(90)
    expect(() => bodies.open('contoso').reach(1)).toThrow(refused)
    bodies.open('fabrikam').reach(10)
    expect(() => body.reach(91)).toThrow(refused)
    body.free()
    bodies.open('contoso').reach(50)
  })
})
