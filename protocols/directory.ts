/** Port: who has what, by key, over the DHT. Every implementation passes test/contracts/directory.ts. */
import type { PeerId } from './ids.ts'
import type { Done } from './outcome.ts'

export type Directory = {
  /** Says that this peer holds `key` (an image id). Repeated by the implementation until `withdraw`. */
  provide(key: string): void
  withdraw(key: string): void
  /** Up to `limit` peers that said so, this one left out; whoever is found in `timeoutMs`, possibly nobody. */
  find(key: string, limit: number, timeoutMs: number, done: Done<PeerId[]>): void
}
