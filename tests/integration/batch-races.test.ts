import { type Batches, type Batching, createBatches } from '@sluice/batch'
import type { BatchObject } from '@sluice/contracts'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { BatchFixture, batchLine, type BatchStores, isOver, startBatchStores } from './batch-fixture.ts'
import { watchedCosmos, type WatchedCosmos } from './watched-cosmos.ts'

// A machine that does many things at once may take its time.
vi.setConfig({ testTimeout: 90_000 })

let stores: BatchStores
beforeAll(async () => void (stores = await startBatchStores()))
afterAll(() => stores.stop())

const tenant = 'contoso'
const total = 6
const ids = Array.from({ length: total }, (_, n) => `n${n}`)
const regions = ['swedencentral', 'eastus2', 'westeurope']
/** Of the deployments that take batches, US dollars a token. */
const price = { input: 0.2e-6, output: 0.8e-6 }
const never = new AbortController().signal
const actions = [
  ...(['advance', 'advance', 'advance', 'advance', 'together', 'together', 'pass', 'pass', 'pass'] as const),
  ...([
    'overtake',
    'overtake',
    'overtake',
    'stall',
    'resume',
    'kill',
    'die',
    'forget',
    'lose',
    'heal',
    'flush',
    'cancel',
  ] as const),
]
type Action = (typeof actions)[number]

interface Part {
  id: string
  status: string
  child?: string
  live: { completed: number; failed: number }
  outcome?: { completed: number; failed: number; cost_usd: number }
}

interface Worker {
  cosmos: WatchedCosmos
  batching: Batching
  /** Steps that stand still in the middle of a write. */
  stalled: Promise<unknown>[]
}

/** Two workers around one batch of several parts; whatever they do at the same time, it must stay sane. */
class World {
  readonly fixture: BatchFixture
  readonly seen: BatchObject[] = []
  readonly #workers: Worker[]
  readonly #batches: Batches
  readonly #claimed = new Set<string>()
  // A runner would catch what is thrown where they are found.
  readonly #violations: string[] = []
  readonly #zombies: Worker[] = []
  #id = ''

  constructor(fixture: BatchFixture) {
    this.fixture = fixture
    this.#workers = [this.#worker(), this.#worker()]
    const { platform, clock } = fixture
    this.#batches = createBatches({ cosmos: this.#watched(), redis: stores.redis.client, platform, clock })
  }

  async begin(): Promise<void> {
    const file = await this.fixture.upload(ids.map((id) => batchLine(id)))
    this.#id = (await this.fixture.submit(file.id)).id
    await this.look()
  }

  async act(what: Action, who: number, at: number): Promise<void> {
    const worker = this.#workers[who] as Worker
    const { fixture } = this
    switch (what) {
      case 'advance':
        return this.#advance(worker, at)
      case 'together':
        return void (await Promise.all(this.#workers.map((one) => this.#advance(one, 0))))
      case 'stall':
        worker.cosmos.stallAt(1 + (at % 4))
        return this.#advance(worker, at)
      case 'resume':
        return this.#resume(worker)
      case 'overtake':
        // Somebody else does its work while it stands still, and then it goes on with what it meant to write.
        worker.cosmos.stallAt(1 + (at % 4))
        await this.#advance(worker, at)
        await fixture.pass(60_000)
        for (let more = 0; more < 3; more++) await this.#advance(this.#workers[1 - who] as Worker, more)
        return this.#resume(worker)
      case 'kill':
      case 'die':
        // A process that ends in the middle of a write: its successor is another one.
        worker.cosmos.dieAt(1 + (at % 4), what === 'die')
        await this.#advance(worker, at)
        this.#workers[who] = this.#worker()
        this.#zombies.push(worker)
        return
      case 'pass':
        return fixture.pass(25_000)
      case 'forget':
        // Every lease runs out, and the twin goes on meanwhile.
        return fixture.pass(60_000)
      case 'lose':
        return stores.twin.post('faults', { type: 'outage', resource: regions[at % 3], mode: '503' })
      case 'heal':
        return stores.twin.post('actions', { clear: true })
      case 'flush':
        return void (await stores.redis.client.flushall())
      case 'cancel':
        // Seldom, or nearly every run would end so.
        if (at % 5 === 0) await this.#batches.cancel(tenant, this.#id)
        return
    }
  }

  /** One worker takes a row, the first one unless told otherwise. */
  async advance(id: string, { batching } = this.#workers[0] as Worker): Promise<void> {
    await batching.runner.advance({ tenant, batch: this.#id, id }, never)
  }

  /** The first worker stands still at a write about a row, the other one takes the row, and the first goes on. */
  async overtake(id: string, n: number, of?: 'create', meanwhile = async () => {}): Promise<void> {
    const [slow, quick] = this.#workers as [Worker, Worker]
    slow.cosmos.stallAt(n, of)
    const step = this.advance(id, slow)
    const outcome = await Promise.race([step, slow.cosmos.stalled().then(() => 'stalled')])
    expect(outcome).toBe('stalled')
    await meanwhile()
    await this.fixture.clock.advance(60_000)
    await this.advance(id, quick)
    slow.cosmos.resume()
    await step
    await this.look()
  }

  /** What must hold whenever somebody looks. */
  async look(): Promise<void> {
    expect(this.#violations).toEqual([])
    const batch = await this.fixture.batches.get(tenant, this.#id)
    const before = this.seen.at(-1)
    this.seen.push(batch)
    const { completed, failed } = batch.request_counts
    expect(completed + failed).toBeLessThanOrEqual(total)
    if (isOver(batch)) expect(completed + failed).toBe(total)
    if (before !== undefined && isOver(before)) {
      expect(lasting(batch)).toEqual(lasting(before))
      expect(batch.sluice.waste_usd).toBeGreaterThanOrEqual(Number(before.sluice.waste_usd))
    }
    // What the parts say themselves, which the outward object bounds.
    const parts = await this.parts()
    const done = parts.map(({ status, outcome, live }) => outcome ?? (status === 'abandoned' ? none : live))
    expect(done.reduce((sum, one) => sum + one.completed + one.failed, 0)).toBeLessThanOrEqual(total)
  }

  /** Everybody who stood still goes on, late; then one worker is left and does the rest. */
  async conclude(): Promise<BatchObject> {
    await stores.twin.post('actions', { clear: true })
    const last = this.#worker()
    const batch = await this.fixture.drive(last.batching, this.#id)
    await this.look()
    for (const worker of [...this.#workers, ...this.#zombies]) await this.#resume(worker)
    await this.look()
    // Regions that were lost are looked at until all is known of them.
    for (let round = 0; round < 200 && (await this.parts()).some(({ status }) => status !== 'done'); round++) {
      await this.fixture.round(last.batching, 20_000)
    }
    await this.look()
    return batch
  }

  parts(): Promise<Part[]> {
    return this.fixture.cosmos.rows<Part>('batches').query({
      sql: `SELECT * FROM c WHERE c.tenant = @tenant AND c.batch = @batch AND c.kind = 'part'`,
      parameters: { tenant, batch: this.#id },
      limit: 100,
    })
  }

  async #advance({ batching, cosmos, stalled }: Worker, at: number): Promise<void> {
    const due = await batching.runner.due(5).catch(() => [])
    const ref = due[at % Math.max(1, due.length)]
    if (ref === undefined) return
    const step = batching.runner.advance(ref, never)
    const outcome = await Promise.race([step.then(() => 'done'), cosmos.stalled().then(() => 'stalled')])
    if (outcome === 'stalled') stalled.push(step)
  }

  async #resume({ cosmos, stalled }: Worker): Promise<void> {
    cosmos.resume()
    await Promise.all(stalled.splice(0))
  }

  #worker(): Worker {
    const cosmos = this.#watched()
    return { cosmos, batching: this.fixture.worker(cosmos), stalled: [] }
  }

  #watched(): WatchedCosmos {
    const mine = new Set<string>()
    return watchedCosmos(this.fixture.cosmos, ({ id, fence, claims }) => {
      const held = `fence ${fence} of ${id}`
      if (claims) {
        if (this.#claimed.has(held)) this.#violations.push(`${held} was taken twice`)
        this.#claimed.add(held)
        mine.add(held)
      }
      // Whoever came later has raised it.
      if (!mine.has(held)) this.#violations.push(`a holder that had lost the row wrote under ${held}`)
    })
  }
}

const none = { completed: 0, failed: 0 }
/** What stays as it is once a batch is over; waste may come to light later. */
const lasting = ({ status, request_counts, output_file_id, error_file_id, sluice }: BatchObject) => ({
  ...{ status, request_counts, output_file_id, error_file_id, cost: sluice.cost_usd },
})

const costOf = (lines: Record<string, unknown>[]): number =>
  lines.reduce((sum, { response }) => {
    const { usage } = (response as { body: { usage: { prompt_tokens: number; completion_tokens: number } } }).body
    return sum + usage.prompt_tokens * price.input + usage.completion_tokens * price.output
  }, 0)

/** Each line once, in its order, and paid once. */
async function checkEnd(world: World, batch: BatchObject): Promise<void> {
  const { fixture } = world
  const answers = await fixture.lines(batch.output_file_id)
  const known = [...answers, ...(await fixture.lines(batch.error_file_id))].map(({ custom_id }) => custom_id)
  // What was cancelled before it was laid out has no files.
  expect(known.toSorted()).toEqual(batch.in_progress_at === null ? [] : ids)
  expect(batch.sluice.cost_usd).toBeCloseTo(costOf(answers), 10)
  const parts = await world.parts()
  const sum = (of: (outcome: NonNullable<Part['outcome']>) => number) =>
    parts.reduce((all, { outcome }) => all + (outcome === undefined ? 0 : of(outcome)), 0)
  expect(sum(({ cost_usd: usd }) => usd)).toBeCloseTo(costOf(answers), 10)
  expect(sum(({ completed }) => completed)).toBe(answers.length)
  if (batch.status === 'completed') expect(answers.map(({ custom_id }) => custom_id)).toEqual(ids)
  else expect(batch.status).toBe('cancelled')
}

async function inWorld(run: (world: World) => Promise<void>): Promise<void> {
  const fixture = await BatchFixture.over(stores, { part_lines: 3 })
  try {
    const world = new World(fixture)
    await world.begin()
    await run(world)
    await checkEnd(world, await world.conclude())
  } finally {
    await fixture.close()
  }
}

/** One worker does its part of the work until a part runs in its region. */
async function running(world: World): Promise<Part> {
  for (let step = 0; step < 50; step++) {
    const part = (await world.parts()).find(({ status }) => status === 'in_progress')
    if (part !== undefined) return part
    await world.act('advance', 0, step)
  }
  throw new Error('no part came to run')
}

test.each([1, 2, 3])('a worker that stood still at write %i of a look cannot write over its successor', async (n) => {
  await inWorld(async (world) => {
    const { id } = await running(world)
    await world.overtake(id, n)
  })
})

test('lines that a worker gave away after it had lost them are not done twice', async () => {
  await inWorld(async (world) => {
    const { id } = await running(world)
    for (const region of [0, 1, 2]) await world.act('lose', 0, region)
    // Once the region counts as lost, its lines are given to another part, which is created.
    for (let look = 0; look < 2; look++) await world.advance(id)
    await world.act('forget', 0, 0)
    await world.overtake(id, 1, 'create', () => world.act('heal', 0, 0))
    expect((await world.parts()).map((part) => part.id)).toContain(`${id}.r`)
  })
})

test('whatever workers, kills and lost regions do at the same time, a batch ends once, adds up, and pays each line once', async () => {
  const step = fc.record({ what: fc.constantFrom(...actions), who: fc.nat(1), at: fc.nat(11) })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      await inWorld(async (world) => {
        for (const { what, who, at } of steps) {
          await world.act(what, who, at)
          await world.look()
        }
      })
    }),
    { numRuns: 10 },
  )
})
