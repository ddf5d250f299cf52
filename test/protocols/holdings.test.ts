/** The frames that ask and tell what a peer holds. */
import { holdingsAnswer, holdingsAsk } from '../../protocols/swarm/holdings-messages.ts'
import { golden, sturdy } from './golden.ts'

const image = 'ab'.repeat(32)
const all = { kind: 'image', image, from: 0, count: 4096 } as const
const some = {
  ...all,
  from: 65_536,
  need: { form: 'runs', data: Uint8Array.of(3, 0x80, 0x20) },
} as const
const sample = { kind: 'chunks', ids: new Uint8Array(64).fill(7) } as const
const told = {
  kind: 'image',
  total: 4000,
  bytes: 1_048_576_000,
  content: 3000,
  held: 16,
  heldBytes: 16 * 262_144,
  frameBytes: 1_500_000,
  count: 4000,
  form: 'runs',
  data: Uint8Array.of(0, 16),
} as const

golden('holdings-ask-image', holdingsAsk, all)
golden('holdings-ask-image-need', holdingsAsk, some)
golden('holdings-ask-chunks', holdingsAsk, sample)
golden('holdings-answer-unknown', holdingsAnswer, { kind: 'unknown' })
golden('holdings-answer-image', holdingsAnswer, told)
golden('holdings-answer-chunks', holdingsAnswer, {
  kind: 'chunks',
  data: Uint8Array.of(0x80),
  frameBytes: 70_000,
})
sturdy('a question about an image', holdingsAsk, some)
sturdy('what is held of an image', holdingsAnswer, told)
