/** A member of a {@link Bag}, which writes its place. */
export interface Placed {
  place: number
}

/**
 * An unordered collection for members that come and go with every message. A Set would do; but it replaces its table
 * every so many deletions, and a table that grew old keeps the messages in it from being collected young: measured, a
 * seventh of the CPU of receiving.
 */
export class Bag<T extends Placed> {
  readonly #members: T[] = []

  get members(): readonly T[] {
    return this.#members
  }

  add(member: T): void {
    member.place = this.#members.length
    this.#members.push(member)
  }

  /** @returns false when it is not in here */
  delete(member: T): boolean {
    if (this.#members[member.place] !== member) return false
    const last = this.#members.pop()
    if (last === undefined || last === member) return true
    last.place = member.place
    this.#members[member.place] = last
    return true
  }
}
