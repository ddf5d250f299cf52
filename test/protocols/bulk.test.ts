/** The frames that bring the key of a socket for bulk bytes. */
import { bulkAnswer, bulkAsk, IDENTITY_BYTES, KEY_BYTES } from '../../protocols/bulk/messages.ts'
import { golden, sturdy } from './golden.ts'

const ask = { protocol: '/godwit/swarm/1' }
const answer = {
  ports: [4712, 40_001],
  identity: '0f'.repeat(IDENTITY_BYTES),
  key: new Uint8Array(KEY_BYTES).fill(7),
}
golden('bulk-ask', bulkAsk, ask)
golden('bulk-answer', bulkAnswer, answer)
sturdy('bulk-ask', bulkAsk, ask)
