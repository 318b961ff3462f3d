// Below this sample value (of 32,767) the microphone hears a room, not a voice.
const quiet = 500
const bytesPerMs = 48

export interface VoiceSettings {
  silenceMs: number
}

/** Tells where speech starts and stops in 24 kHz 16-bit audio, by loudness alone. Positions are ms since the first byte. */
export class VoiceActivity {
  #heardMs = 0
  #speaking = false
  #lastLoudMs = 0

  /** Takes in audio; returns what it changed, in order. */
  hear(audio: Buffer, { silenceMs }: VoiceSettings): { type: 'started' | 'stopped'; atMs: number }[] {
    const changes: { type: 'started' | 'stopped'; atMs: number }[] = []
    // Looked at in frames of 10 ms.
    const frame = bytesPerMs * 10
    for (let at = 0; at + 1 < audio.byteLength; at += frame) {
      const end = Math.min(at + frame, audio.byteLength - 1)
      let loud = false
      for (let i = at; i < end && !loud; i += 2) loud = Math.abs(audio.readInt16LE(i)) > quiet
      const nowMs = this.#heardMs + at / bytesPerMs
      if (loud) {
        this.#lastLoudMs = nowMs
        if (!this.#speaking) changes.push({ type: 'started', atMs: Math.round(nowMs) })
        this.#speaking = true
      } else if (this.#speaking && nowMs - this.#lastLoudMs >= silenceMs) {
        this.#speaking = false
        changes.push({ type: 'stopped', atMs: Math.round(nowMs) })
      }
    }
    this.#heardMs += audio.byteLength / bytesPerMs
    return changes
  }
}
