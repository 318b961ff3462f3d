import type { PartRow } from './batch-row.ts'
import type { PartContext } from './part-context.ts'

const childSuffix = '.r'

/** Creates the part that goes on with a part's remaining lines; repeated, it finds it. @returns its id */
export async function goOn(
  { store }: PartContext,
  part: PartRow,
  rest: { blob: string; lines: number; bytes: number; route: string[] },
): Promise<string> {
  const at = store.iso()
  const id = `${part.id}${childSuffix}`
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

/**
 * Whether the part that this one goes on for says so. The child comes first, and a holder that was slow may have made it
 * when its successor had already decided otherwise: then the lines are somebody else's.
 */
export async function placeInLine({ store }: PartContext, part: PartRow): Promise<'child' | 'orphan' | 'not yet'> {
  if (!part.id.endsWith(childSuffix)) return 'child'
  const { tenant, batch } = part
  const row = (await store.get({ tenant, batch, id: part.id.slice(0, -childSuffix.length) })) as PartRow | undefined
  if (row?.child === part.id) return 'child'
  return row === undefined || row.status === 'done' || row.status === 'abandoned' ? 'orphan' : 'not yet'
}
