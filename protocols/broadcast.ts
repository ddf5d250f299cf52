/** Port: topics that many hear, best effort, newest wins. Every implementation passes test/contracts/broadcast.ts. */
import type { PeerId } from './ids.ts'

/** `accept`: pass it on. `ignore`: drop it quietly. `reject`: drop it and score its sender down. */
export type Verdict = 'accept' | 'ignore' | 'reject'

export type Broadcast = {
  /** Hands a frame of at most GOSSIP_BYTES_MAX over. The publisher does not hear itself. */
  publish(topic: string, frame: Uint8Array): void
  /** `from` is the author (its signature was checked), not the last hop. The verdict comes before it is passed on. */
  subscribe(topic: string, handler: (from: PeerId, frame: Uint8Array) => Verdict): void
}
