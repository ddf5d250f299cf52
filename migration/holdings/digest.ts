/**
 * Whether peers that never saw an image hold chunks of it that are missing here, from other images: each is asked with a
 * digest (protocols/swarm/holdings-messages.ts) before a list of ids is sent to it, which may be 2 MiB.
 *
 *   (not asked) ──ask──▶ asked ──a bit is set────────────────▶ holds
 *        ▲                 ├──── none is, or it is busy ─────▶ none for now ──FIND_SOURCES_MS──┐
 *        │                 └──── it does not know the question ─▶ unable: it is told everything │
 *        └──────────────────────────────────────────────────────────────────────────────────────┘
 *
 * A sample is drawn anew each time, of what nobody in sight holds while there is such, and of few chunks it is all: what only
 * one peer has a little of is found once the rest is here.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { FIND_SOURCES_MS, HOLDINGS_MS } from '../../protocols/limits.ts'
import type { Transport } from '../../protocols/transport.ts'
import { askChunks } from './asking.ts'

type Known = { state: 'asked' | 'holds' | 'none' | 'unable'; atMs: number }

export type DigestOptions = {
  readonly transport: Pick<Transport, 'request'>
  readonly clock: Clock
  /** Hashes of a sample of what is missing; empty when nothing is. */
  readonly sample: () => Uint8Array
  /** It holds some of it, or cannot say: worth a channel and a list. */
  readonly worth: (peer: PeerId) => void
}

export class Digest {
  readonly #options: DigestOptions
  /** As many as a download knows peers. */
  readonly #known = new Map<PeerId, Known>()
  #stopped = false

  constructor(options: DigestOptions) {
    this.#options = options
  }

  /** Tells `worth` at once of a peer that is known to be, else asks; not again before its answer may have changed. */
  ask(peer: PeerId): void {
    const { clock, sample, transport, worth } = this.#options
    const nowMs = clock.nowMs()
    const known = this.#known.get(peer)
    if (known?.state === 'holds' || known?.state === 'unable') return worth(peer)
    if (known !== undefined && nowMs - known.atMs < FIND_SOURCES_MS) return
    const hashes = sample()
    if (hashes.length === 0) return
    const mine: Known = { state: 'asked', atMs: nowMs }
    this.#known.set(peer, mine)
    askChunks(transport, peer, hashes, HOLDINGS_MS, (outcome) => {
      if (this.#stopped) return
      if (outcome.ok) mine.state = outcome.value.data.some((byte) => byte !== 0) ? 'holds' : 'none'
      else mine.state = outcome.failure.code === 'UNSUPPORTED' ? 'unable' : 'none'
      if (mine.state === 'holds' || mine.state === 'unable') worth(peer)
    })
  }

  stop(): void {
    this.#stopped = true
  }
}
