import { parseArgs } from 'node:util'
import { batchCommand } from './batch/batch-command.ts'
import { calibrate } from './calibrate.ts'
import { keysCommand } from './keys-command.ts'
import { UsageError } from './usage-error.ts'
import { score } from './score.ts'

const usage = `usage: sluice COMMAND [OPTIONS]

  score      --in FILE.jsonl [--out FILE.csv]
             Complexity scores of prompts. A line: { "id", "messages" } and, if you like, the request's other fields
             (tools, response_format). Writes id,score; without --out to standard output. FILE may end in .gz.

  calibrate  --in FILE.jsonl [--quality 0.95] [--prices 1,5,25]
             Thresholds for config/sluice.yaml from prompts of your own. A line: "score", or "messages", with
             "tier" (the lowest tier that answers well) or "ok" ({ "small": false, "medium": true, "large": true }).
             --quality: least share of prompts to serve well; --prices: a call to the small, medium and large tier.

  batch      submit FILE [--deadline 6h] [--watch] [--sticky] [--webhook URL] [--per-line-events]
                    [--endpoint /v1/chat/completions] [--idempotency-key KEY]
             status BATCH [--watch] [--json]
             cancel BATCH
             list [--limit 20]
             download BATCH [--out FILE] [--errors]     goes on where an earlier call stopped
             Everywhere: --url and --key, or SLUICE_URL and SLUICE_API_KEY, or the local stack of this directory.

  keys       create --tenant T [--scopes submit,read] [--name N] [--expires 2027-01-31T12:00:00Z] [--platform]
                    [--direct]      prints the key, this one time; --direct writes it into the database that
                                    COSMOS_ENDPOINT and COSMOS_KEY name, for the first key of all
             list [--tenant T]
             rotate KEY_ID [--overlap 86400]            both keys work for that many seconds
             disable KEY_ID | enable KEY_ID | delete KEY_ID
             --url and --key as above; the key needs the scope admin.
`

/** A command's own part of the usage. */
const usageOf = (name: string): string => usage.split('\n\n').find((part) => part.startsWith(`  ${name} `)) ?? ''

const commands: Record<string, (args: string[]) => Promise<void>> = {
  batch: (args) => batchCommand(args, process.env),
  keys: (args) => keysCommand(args, process.env),
  score: (args) => score(parseArgs({ args, options: { in: { type: 'string' }, out: { type: 'string' } } }).values),
  calibrate: (args) =>
    calibrate(
      parseArgs({
        args,
        options: {
          in: { type: 'string' },
          quality: { type: 'string', default: '0.95' },
          prices: { type: 'string', default: '1,5,25' },
        },
      }).values,
    ),
}

/** What the caller can mend, parseArgs's complaints about options included. */
const isMendable = (error: unknown): error is Error =>
  error instanceof UsageError ||
  (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS_'))

const [name = '', ...args] = process.argv.slice(2)
const command = commands[name]
if (command === undefined) {
  const asked = name === '--help' || name === 'help'
  process[asked ? 'stdout' : 'stderr'].write(usage)
  process.exitCode = asked ? 0 : 1
} else if (args.includes('--help') || args.includes('-h')) {
  process.stdout.write(`usage: sluice COMMAND [OPTIONS]\n\n${usageOf(name).trimEnd()}\n`)
} else {
  try {
    await command(args)
  } catch (error) {
    if (!isMendable(error)) throw error
    process.stderr.write(`sluice ${name}: ${error.message}\n`)
    process.exitCode = 1
  }
}
