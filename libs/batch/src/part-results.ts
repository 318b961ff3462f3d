import { fileLines } from './file-lines.ts'

/** An answered line as a part's results keep it. */
export interface PartResult {
  /** Its place in the input. */
  index: number
  ok: boolean
  /** The result without its custom id: a JSON object that begins with one of the other fields. */
  text: string
}

const tab = 0x09

/** A result's line in the blob: place, 1 for an answer and 0 for an error, and the JSON object, with tabs between. */
export const resultText = (ok: boolean, result: object): string => `${ok ? 1 : 0}\t${JSON.stringify(result)}`

/** Reads a results blob again. */
export async function* partResults(blob: AsyncIterable<Uint8Array>): AsyncGenerator<PartResult> {
  for await (const { bytes } of fileLines(blob, Number.POSITIVE_INFINITY)) {
    const at = bytes.indexOf(tab)
    yield {
      index: Number(bytes.toString('latin1', 0, at)),
      ok: bytes[at + 1] === 0x31,
      text: bytes.toString('utf8', at + 3),
    }
  }
}

/** A result's line as the caller gets it. */
export const outputLine = (customId: string, text: string): string =>
  `{"custom_id":${JSON.stringify(customId)},${text.slice(1)}\n`
