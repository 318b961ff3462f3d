import type { Counter } from 'prom-client'

/**
 * Adds to a counter of which every call of a busy door has something to tell: its series are found by the values of
 * their labels alone, and the registry hears of them when it is read.
 */
export interface Tally {
  /** @param values of the labels, in the order in which they were declared */
  add(amount: number, ...values: Values): void
}

type Values = readonly [first: string, second?: string, third?: string]

interface Series {
  labels: Record<string, string>
  amount: number
}

type Level<T> = Map<string, T>

/** @returns the tally, and what brings the counter up to date */
export function createTally(counter: Counter, names: readonly string[]): { tally: Tally; settle: () => void } {
  const series: Series[] = []
  const levels: Level<Level<Level<Series>>> = new Map()

  const find = (first: string, second: string, third: string): Series => {
    const known = levels.get(first)?.get(second)?.get(third)
    if (known !== undefined) return known
    const values = [first, second, third]
    const labels = Object.fromEntries(names.map((name, at) => [name, values[at] ?? '']))
    const made = { labels, amount: 0 }
    series.push(made)
    within(within(levels, first), second).set(third, made)
    return made
  }

  return {
    tally: {
      add(amount, first, second = '', third = '') {
        find(first, second, third).amount += amount
      },
    },
    settle() {
      for (const one of series) {
        counter.inc(one.labels, one.amount)
        one.amount = 0
      }
    },
  }
}

function within<T>(level: Level<Level<T>>, value: string): Level<T> {
  let inner = level.get(value)
  if (inner === undefined) level.set(value, (inner = new Map()))
  return inner
}
