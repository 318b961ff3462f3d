/** Where a line goes in the end. */
interface Lines {
  write(text: string): void
}

const flushAfterMs = 20
const maxBytes = 64 * 1024

/**
 * Gathers lines for a moment, so that many requests share one write: with a system call each, logging would cost a busy
 * door as much as parsing. SIGKILL takes the last moment's lines along; an exit loses none.
 */
export class LineBuffer {
  readonly #lines: Lines
  #text = ''
  #timer: NodeJS.Timeout | undefined

  constructor(lines: Lines) {
    this.#lines = lines
    process.once('exit', () => this.flush())
  }

  write(line: string): void {
    this.#text += line
    if (this.#text.length >= maxBytes || line.startsWith('{"level":"fatal"')) this.flush()
    // It may keep the process from ending for this moment, and then the lines are out.
    else this.#timer ??= setTimeout(() => this.flush(), flushAfterMs)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const text = this.#text
    this.#text = ''
    if (text !== '') this.#lines.write(text)
  }
}
