import type { PartRow } from './batch-row.ts'
import type { PartContext } from './part-context.ts'

/** Creates the part that goes on with a part's remaining lines; repeated, it finds it. @returns its id */
export async function goOn(
  { store }: PartContext,
  part: PartRow,
  rest: { blob: string; lines: number; bytes: number; route: string[] },
): Promise<string> {
  const at = store.iso()
  const id = `${part.id}.r`
  const tokens = Math.ceil((part.tokens * rest.lines) / part.lines)
  await store.create({
    ...{
      id,
      tenant: part.tenant,
      batch: part.batch,
      schema: 1,
      kind: 'part',
      status: 'planned',
      fence: 0,
      owner: null,
    },
    ...{ open: true, due_at: at, created_at: at, updated_at: at, ...rest, tokens, endpoint: part.endpoint },
    ...{ attempt: part.attempt + 1, regional: null, holds: false, quiet: 0, failing_since: null },
    live: { completed: 0, failed: 0 },
  })
  return id
}
