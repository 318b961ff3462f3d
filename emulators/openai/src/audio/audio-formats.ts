import { spokenTag } from './transcript.ts'

export const speechFormats = ['mp3', 'wav', 'pcm', 'opus'] as const
export type SpeechFormat = (typeof speechFormats)[number]

export const contentTypes: Record<SpeechFormat, string> = {
  mp3: 'audio/mpeg',
  wav: 'audio/wav',
  pcm: 'audio/pcm',
  opus: 'audio/ogg',
}

export const sampleRate = 24_000

/** A quiet tone as 16-bit mono samples; `at` continues a tone that began so many samples earlier. */
export function tone(samples: number, at = 0): Buffer {
  const buffer = Buffer.alloc(samples * 2)
  for (let i = 0; i < samples; i++)
    buffer.writeInt16LE(Math.round(3_000 * Math.sin(((at + i) * 2 * Math.PI * 220) / sampleRate)), i * 2)
  return buffer
}

function wavHeader(dataBytes: number, tag: Buffer): Buffer {
  const comment = Buffer.concat([tag, Buffer.alloc(tag.byteLength % 2)])
  const header = Buffer.alloc(36)
  header.write('RIFF', 0, 'latin1')
  header.writeUInt32LE(36 - 8 + 20 + comment.byteLength + 8 + dataBytes, 4)
  header.write('WAVEfmt ', 8, 'latin1')
  header.writeUInt32LE(16, 16)
  header.writeUInt16LE(1, 20)
  header.writeUInt16LE(1, 22)
  header.writeUInt32LE(sampleRate, 24)
  header.writeUInt32LE(sampleRate * 2, 28)
  header.writeUInt16LE(2, 32)
  header.writeUInt16LE(16, 34)
  const list = Buffer.alloc(20)
  list.write('LIST', 0, 'latin1')
  list.writeUInt32LE(12 + comment.byteLength, 4)
  list.write('INFOICMT', 8, 'latin1')
  list.writeUInt32LE(comment.byteLength, 16)
  const data = Buffer.alloc(8)
  data.write('data', 0, 'latin1')
  data.writeUInt32LE(dataBytes, 4)
  return Buffer.concat([header, list, comment, data])
}

/** An ID3v2.3 tag with one comment. Its size is written in 7-bit bytes. */
function id3(tag: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from('\0eng\0', 'latin1'), tag])
  const frame = Buffer.alloc(10)
  frame.write('COMM', 0, 'latin1')
  frame.writeUInt32BE(body.byteLength, 4)
  const size = 10 + body.byteLength
  const header = Buffer.from([
    0x49,
    0x44,
    0x33,
    3,
    0,
    0,
    (size >> 21) & 127,
    (size >> 14) & 127,
    (size >> 7) & 127,
    size & 127,
  ])
  return Buffer.concat([header, frame, body])
}

// MPEG 1 layer III, 128 kbit/s, 44.1 kHz, joint stereo: 417 bytes and 26 ms a frame. All zero after the header is silence.
const mp3Frame = Buffer.concat([Buffer.from([0xff, 0xfb, 0x90, 0x64]), Buffer.alloc(413)])
const mp3FrameMs = 26.122

const crcTable = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1
  return crc >>> 0
})

function oggPage(packets: readonly Buffer[], page: { flags: number; granule: bigint; sequence: number }): Buffer {
  const lacing = packets.flatMap((packet) => [
    ...Array.from({ length: Math.floor(packet.byteLength / 255) }, () => 255),
    packet.byteLength % 255,
  ])
  const header = Buffer.alloc(27)
  header.write('OggS', 0, 'latin1')
  header.writeUInt8(page.flags, 5)
  header.writeBigUInt64LE(page.granule, 6)
  header.writeUInt32LE(0x7717, 14)
  header.writeUInt32LE(page.sequence, 18)
  header.writeUInt8(lacing.length, 26)
  const whole = Buffer.concat([header, Buffer.from(lacing), ...packets])
  let crc = 0
  for (const byte of whole) crc = ((crc << 8) ^ (crcTable[((crc >>> 24) ^ byte) & 255] ?? 0)) >>> 0
  whole.writeUInt32LE(crc, 22)
  return whole
}

// One 20 ms packet of silence in CELT mode.
const opusSilence = Buffer.from([0xf8, 0xff, 0xfe])

function opusHead(tag: Buffer): Buffer[] {
  const head = Buffer.alloc(19)
  head.write('OpusHead', 0, 'latin1')
  head.writeUInt8(1, 8)
  head.writeUInt8(1, 9)
  head.writeUInt16LE(312, 10)
  head.writeUInt32LE(48_000, 12)
  const vendor = Buffer.from('twin')
  const comment = Buffer.concat([Buffer.from('COMMENT='), tag])
  const sized = (text: Buffer): Buffer[] => {
    const size = Buffer.alloc(4)
    size.writeUInt32LE(text.byteLength)
    return [size, text]
  }
  const count = Buffer.alloc(4)
  count.writeUInt32LE(1)
  const tags = Buffer.concat([Buffer.from('OpusTags'), ...sized(vendor), count, ...sized(comment)])
  return [
    oggPage([head], { flags: 2, granule: 0n, sequence: 0 }),
    oggPage([tags], { flags: 0, granule: 0n, sequence: 1 }),
  ]
}

/**
 * Playable audio for a text as chunks of about 200 ms: a tone in wav and pcm, silence in mp3 and opus. All but raw pcm
 * carry the text in their metadata, where a transcription by this twin finds it.
 */
export function* speechChunks(text: string, seconds: number, format: SpeechFormat): Generator<Buffer, void, undefined> {
  const tag = Buffer.from(spokenTag(text.slice(0, 4_096)))
  const chunks = Math.max(1, Math.ceil(seconds * 5))
  const samplesPerChunk = sampleRate / 5
  if (format === 'wav') yield wavHeader(chunks * samplesPerChunk * 2, tag)
  if (format === 'mp3') yield id3(tag)
  if (format === 'opus') yield Buffer.concat(opusHead(tag))
  for (let chunk = 0; chunk < chunks; chunk++) {
    if (format === 'mp3') yield Buffer.concat(Array.from({ length: Math.round(200 / mp3FrameMs) }, () => mp3Frame))
    else if (format === 'opus') {
      const last = chunk === chunks - 1
      const page = { flags: last ? 4 : 0, granule: BigInt((chunk + 1) * 9_600), sequence: chunk + 2 }
      yield oggPage(
        Array.from({ length: 10 }, () => opusSilence),
        page,
      )
    } else yield tone(samplesPerChunk, chunk * samplesPerChunk)
  }
}
