import { expect, it } from 'vitest'
import { AnswerTurns } from './answer-turns.ts'

const turn = () => new Promise((resolve) => setImmediate(resolve))

const fail = (thrown: unknown) => {
  throw thrown
}

function setUp(perTurn: number) {
  const given: string[] = []
  const turns = new AnswerTurns(perTurn)
  const come = (...names: string[]) => {
    for (const name of names) turns.run(() => given.push(name), fail)
  }
  return { given, turns, come }
}

it('gives at once what a turn has room for, and the rest in the next turns, in the order in which it came', async () => {
  const { given, come } = setUp(2)
  come('a', 'b', 'c', 'd', 'e')
  expect(given).toEqual(['a', 'b'])
  await turn()
  expect(given).toEqual(['a', 'b', 'c', 'd'])
  come('f')
  expect(given).toEqual(['a', 'b', 'c', 'd'])
  await turn()
  expect(given).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  come('g')
  await turn()
  expect(given).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g'])
})

it('gives at once again when a turn was quiet', async () => {
  const { given, come } = setUp(1)
  come('a')
  await turn()
  come('b')
  expect(given).toEqual(['a', 'b'])
  come('c')
  expect(given).toEqual(['a', 'b'])
  await turn()
  await turn()
  come('d')
  expect(given).toEqual(['a', 'b', 'c', 'd'])
})

it('what comes while others are given waits for its turn', async () => {
  const { given, turns, come } = setUp(1)
  turns.run(() => come('inner'), fail)
  expect(given).toEqual([])
  await turn()
  expect(given).toEqual(['inner'])
})

it('what one throws is told to its owner, at once as in a later turn, and the others are given', async () => {
  const { given, turns, come } = setUp(2)
  const told: unknown[] = []
  const broken = (name: string) =>
    turns.run(
      () => fail(name),
      (thrown) => told.push(thrown),
    )
  broken('a')
  come('b')
  broken('c')
  come('d')
  expect(told).toEqual(['a'])
  await turn()
  expect(told).toEqual(['a', 'c'])
  expect(given).toEqual(['b', 'd'])
})
