import test from 'ava'
import { FRAME_BYTES_MAX, PRINTS_BYTES_MAX, PRINTS_CHUNKS_MAX } from '../../protocols/limits.ts'
import { decode, encode, type Message } from '../../protocols/swarm/messages.ts'
import { golden, sturdy } from './golden.ts'

const blockMessage = { name: 'swarm', bytesMax: FRAME_BYTES_MAX, encode, decode }
const MESSAGES: Message[] = [
  { kind: 'blocks' },
  { kind: 'sketch-of' },
  { kind: 'sketch', data: Uint8Array.of(8, 0, 0, 0, 0, 0, 7) },
  { kind: 'prints-of', indexes: [3, 4, 70_000] },
  { kind: 'prints', indexes: [3], data: new Uint8Array(12).fill(0xab) },
  {
    kind: 'blocks-of',
    batch: 1,
    indexes: [3, 4],
    lacking: Uint8Array.of(0x80, 0x01),
    dictionary: new Uint8Array(32).fill(0xcd),
    level: 9,
  },
  {
    kind: 'delta',
    batch: 1,
    withDictionary: true,
    frameBytes: 100_000,
    total: 6,
    at: 4,
    data: Uint8Array.of(1, 2),
  },
  { kind: 'plain', indexes: [3] },
]

for (const message of MESSAGES) {
  golden(`swarm-blocks-${message.kind}`, blockMessage, message)
  sturdy(`swarm-blocks-${message.kind}`, blockMessage, message)
}

test('the fingerprints of as many chunks as may be asked for fit one frame', (t) => {
  const indexes = Array.from({ length: PRINTS_CHUNKS_MAX }, () => 2 ** 26 - 1)
  const frame = blockMessage.encode({ kind: 'prints', indexes, data: new Uint8Array(PRINTS_BYTES_MAX) })
  t.true(frame.length <= FRAME_BYTES_MAX)
})
