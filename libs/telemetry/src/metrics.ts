import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { createTally, type Tally } from './tally.ts'

interface MetricOptions<L extends string> {
  /** Prometheus name with its unit: `sluice_handler_seconds`, `sluice_settled_total`. */
  name: string
  help: string
  /** Label names. Never a tenant's or a request's own text: every value is a time series. */
  labels?: readonly L[]
}

/**
 * A service's metrics, in a registry of their own so that several services can live in one process. Asking twice for a
 * name gives the same metric.
 */
export interface Metrics {
  counter<L extends string = never>(options: MetricOptions<L>): Counter<L>
  /** A counter for hot paths, of one to three labels; it is up to date whenever it is rendered. */
  tally(options: MetricOptions<string>): Tally
  /** `collect` sets the value when it is read, for what is cheaper to look at than to follow. */
  gauge<L extends string = never>(options: MetricOptions<L> & { collect?: (gauge: Gauge<L>) => void }): Gauge<L>
  histogram<L extends string = never>(options: MetricOptions<L> & { buckets?: readonly number[] }): Histogram<L>
  /** Everything in Prometheus' text format. */
  render(): Promise<{ contentType: string; text: string }>
}

export function createMetrics(service: string): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ service })
  collectDefaultMetrics({ register: registry })
  const once = <M>(name: string, create: () => M): M => (registry.getSingleMetric(name) as M | undefined) ?? create()
  const common = <L extends string>({ name, help, labels = [] }: MetricOptions<L>) => ({
    name,
    help,
    labelNames: labels,
    registers: [registry],
  })
  const tallies = new Map<string, ReturnType<typeof createTally>>()
  return {
    counter: (options) => once(options.name, () => new Counter(common(options))),
    tally(options) {
      const { name, labels = [] } = options
      let known = tallies.get(name)
      if (known === undefined) {
        known = createTally(
          once(name, () => new Counter(common(options))),
          labels,
        )
        tallies.set(name, known)
      }
      return known.tally
    },
    gauge: <L extends string>(options: MetricOptions<L> & { collect?: (gauge: Gauge<L>) => void }) => {
      const { collect } = options
      const create = (): Gauge<L> =>
        new Gauge<L>({
          ...common(options),
          ...(collect === undefined
            ? {}
            : {
                collect() {
                  collect(this)
                },
              }),
        })
      return once(options.name, create)
    },
    histogram: (options) =>
      once(
        options.name,
        () =>
          new Histogram({
            ...common(options),
            ...(options.buckets === undefined ? {} : { buckets: [...options.buckets] }),
          }),
      ),
    async render() {
      for (const { settle } of tallies.values()) settle()
      return { contentType: registry.contentType, text: await registry.metrics() }
    },
  }
}
