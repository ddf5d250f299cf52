/** Run by chunk-store.test.ts: writes chunks from a number on, tells its parent each that is acknowledged, until killed. */
import { openChunkStore } from '../../storage/files/chunk-store.ts'
import { frameKeyOf, frameKeys, NO_KEYS } from '../../storage/files/frame-keys.ts'
import { chunk } from '../contracts/chunk.ts'

const [, , folder = '', from = '0', secret] = process.argv
const keys = secret === undefined ? NO_KEYS : frameKeys([frameKeyOf(Buffer.from(secret, 'hex'))])
const opened = await openChunkStore(folder, { segmentBytesMax: 10_000, keys })
if (!opened.ok) throw new Error(JSON.stringify(opened.failure))
const store = opened.value
const acknowledged = new Set<number>()
let told = Number(from)

/** Four writes in hand; the parent hears numbers in order, once all before them are acknowledged too. */
function write(n: number): void {
  const { id, frame } = chunk(n)
  store.write(id, frame, 4096, (outcome) => {
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
    acknowledged.add(n)
    while (acknowledged.delete(told)) process.send?.(told++)
    // Some are checkpointed, most are not.
    if (n % 50 === 0) store.sync(() => {})
    write(n + 4)
  })
}
for (let n = 0; n < 4; n++) write(Number(from) + n)
