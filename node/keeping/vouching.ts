/**
 * Who else holds an image, so that this peer may drop its copy.
 *
 *   A: X is on its list of what goes ── image.vouch {X} ──▶ B: is X whole here, on disk, and not on its own list?
 *   A: drops X within VOUCH_MS of asking, or not at all; only then is X off its list
 *
 * Invariant: two peers, or any circle of them, never drop the last copies, each relying on the next. For whoever put X on its
 * list last relies on one that had it there already, or that has dropped it: and neither vouches. An answer that does not
 * come, or cannot be read, is a no: unknown means keep. The list is in memory: a peer that forgets by a crash what it was
 * about to drop still holds it, or has dropped it.
 */
import { z } from 'zod'
import type { Clock } from '../../protocols/clock.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { VOUCH_IMAGES_MAX, VOUCH_MS, VOUCH_PEERS_MAX, VOUCH_WAIT_MS } from '../../protocols/limits.ts'
import type { Done } from '../../protocols/outcome.ts'
import { ok } from '../../protocols/outcome.ts'
import { missingOf } from '../../migration/swarm/missing.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import type { Asking } from '../asking.ts'

type Ports = {
  readonly clock: Clock
  readonly chunks: Pick<ChunkStore, 'has' | 'sync'>
  readonly manifests: Pick<ManifestStore, 'get' | 'list'>
}

export const vouchParams = z.strictObject({
  images: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(VOUCH_IMAGES_MAX),
})
const vouchAnswer = z.object({ held: z.array(z.boolean()).max(VOUCH_IMAGES_MAX) })

/** Who vouches for an image, and until when that may be relied on. */
export type Vouched = ReadonlyMap<ImageId, { readonly by: PeerId; readonly untilMs: number }>

export class Vouching {
  readonly #ports: Ports
  readonly #asking: Pick<Asking, 'there'>
  readonly #going = new Set<ImageId>()

  constructor(ports: Ports, asking: Pick<Asking, 'there'>) {
    this.#ports = ports
    this.#asking = asking
  }

  /** Answers a peer that would drop these. */
  answer(images: readonly ImageId[], done: Done<{ held: boolean[] }>): void {
    const whole: boolean[] = []
    const next = (): void => {
      const image = images[whole.length]
      if (image === undefined)
        return this.#ports.chunks.sync((synced) => done(ok({ held: vouched(synced.ok) })))
      this.#isWhole(image, (is) => {
        whole.push(is)
        next()
      })
    }
    const vouched = (synced: boolean): boolean[] =>
      images.map(
        (image, at) => synced && whole[at] === true && this.#isListed(image) && !this.#going.has(image),
      )
    next()
  }

  /** Puts it on the list of what goes; false when it is there for somebody else. */
  go(image: ImageId): boolean {
    if (this.#going.has(image)) return false
    this.#going.add(image)
    return true
  }

  /** It is gone, or stays after all. */
  settle(image: ImageId): void {
    this.#going.delete(image)
  }

  /** Asks peers, the likeliest first, all at once. */
  ask(images: readonly ImageId[], peers: readonly PeerId[], done: (vouched: Vouched) => void): void {
    const vouched = new Map<ImageId, { by: PeerId; untilMs: number }>()
    const batches: ImageId[][] = []
    for (let at = 0; at < images.length; at += VOUCH_IMAGES_MAX)
      batches.push(images.slice(at, at + VOUCH_IMAGES_MAX))
    const untilMs = this.#ports.clock.nowMs() + VOUCH_MS
    const asked = peers.slice(0, VOUCH_PEERS_MAX).flatMap((by) => batches.map((batch) => ({ by, batch })))
    let left = asked.length
    if (left === 0) return done(vouched)
    for (const { by, batch } of asked) {
      const heard: Done<unknown> = (outcome) => {
        const answer = outcome.ok ? vouchAnswer.safeParse(outcome.value) : undefined
        if (answer?.success === true)
          for (const [at, image] of batch.entries())
            if (answer.data.held[at] === true && !vouched.has(image)) vouched.set(image, { by, untilMs })
        if (--left === 0) done(vouched)
      }
      this.#asking.there(by, 'image.vouch', { images: batch }, heard, 0, VOUCH_WAIT_MS)
    }
  }

  /** Its manifest is still here. */
  #isListed(image: ImageId): boolean {
    return this.#ports.manifests.list().includes(image)
  }

  #isWhole(image: ImageId, done: (whole: boolean) => void): void {
    const { chunks, manifests } = this.#ports
    manifests.get(image, (manifest) => {
      if (!manifest.ok) return done(false)
      missingOf(manifest.value, chunks, (missing) => done(missing.ok && missing.value.count === 0))
    })
  }
}
