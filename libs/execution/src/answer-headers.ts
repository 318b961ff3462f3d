/** As undici reads them. */
export type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

export function contentTypeOf({ 'content-type': type }: AnswerHeaders): string {
  return typeof type === 'string' ? type : 'application/octet-stream'
}

/** @returns undefined where the answer does not say, or says nonsense */
export function contentLengthOf({ 'content-length': length }: AnswerHeaders): number | undefined {
  return typeof length === 'string' && /^\d+$/.test(length) ? Number(length) : undefined
}
