/**
 * Takes images off this peer to which nothing on it refers (references.ts), and then what no manifest names any more.
 *
 *   plan: what nothing refers to ─▶ on the list of what goes ─▶ ask who vouches for what is precious
 *   run:  for each: still nothing refers to it, and the vouching holds? ─▶ its manifest goes ─▶ … ─▶ collect
 *
 * Invariants (test/node/keeping):
 * - a manifest goes only in the turn of the loop in which nothing refers to it;
 * - one of a precious image only while another peer vouches for a whole copy, or by force, which is exactly that one thing;
 * - while it cannot be known what refers to an image (an import that has no name yet, a move that has yet to say what its
 *   disks are) nothing goes. A crash after any step leaves garbage that the next collection takes.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { Directory } from '../../protocols/directory.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { PRUNE_BYTES_PER_SECOND } from '../../protocols/limits.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import type { PruneItem } from '../views.ts'
import type { Collecting } from './collecting.ts'
import { type Held, heldOf } from './held.ts'
import type { Vouched, Vouching } from './vouching.ts'

type Ports = {
  readonly clock: Clock
  readonly chunks: Pick<ChunkStore, 'sizes'>
  readonly directory: Pick<Directory, 'withdraw'>
  readonly manifests: ManifestStore
}

/** What the rest of the peer knows; asked anew before each step. */
export type Known = {
  /** What refers to each image, in words. */
  references(): ReadonlyMap<ImageId, readonly string[]>
  precious(): ReadonlySet<ImageId>
  /** Why it cannot be known what refers to an image; undefined when it can. */
  unsettled(): string | undefined
  /** Peers that may hold an image, the likeliest first. */
  others(): readonly PeerId[]
  nameOf(image: ImageId): string
  nameOfPeer(peer: PeerId): string
}

type Weighed = { readonly image: ImageId; readonly bytes: number }
type Fate = { readonly drops: boolean; readonly why: string }

const IN_HAND: Fate = { drops: false, why: 'another prune has it in hand' }

export class Pruning {
  readonly #ports: Ports
  readonly #known: Known
  readonly #vouching: Vouching
  readonly #collecting: Collecting

  constructor(ports: Ports, known: Known, vouching: Vouching, collecting: Collecting) {
    this.#ports = ports
    this.#known = known
    this.#vouching = vouching
    this.#collecting = collecting
  }

  /** What goes and what stays, with the room that comes back last; done, unless it is a dry run, when it is. */
  prune({ dryRun, force }: { dryRun: boolean; force: boolean }, done: Done<PruneItem[]>): void {
    const referred = this.#known.references()
    const free = this.#ports.manifests.list().filter((image) => !referred.has(image))
    const going = free.filter((image) => this.#vouching.go(image))
    const settle = (): void => {
      for (const image of going) this.#vouching.settle(image)
    }
    const precious = this.#known.precious()
    this.#vouching.ask(
      going.filter((image) => precious.has(image)),
      this.#known.others(),
      (vouched) =>
        this.#weigh(free, (weighed) => {
          const items = weighed.map(({ image, bytes }): PruneItem => {
            const fate = going.includes(image) ? this.#fate(image, vouched, force) : IN_HAND
            return { kind: 'image', id: image, name: this.#known.nameOf(image), bytes, ...fate }
          })
          if (!dryRun) return this.#drop(items, vouched, force, settle, done)
          settle()
          this.#count(items, done)
        }),
    )
  }

  #fate(image: ImageId, vouched: Vouched, force: boolean): Fate {
    const unsettled = this.#known.unsettled()
    if (unsettled !== undefined) return { drops: false, why: unsettled }
    const [reference] = this.#known.references().get(image) ?? []
    if (reference !== undefined) return { drops: false, why: reference }
    if (!this.#known.precious().has(image)) return { drops: true, why: 'nothing refers to it' }
    const by = vouched.get(image)
    if (by !== undefined && this.#ports.clock.nowMs() < by.untilMs)
      return { drops: true, why: `${this.#known.nameOfPeer(by.by)} holds it` }
    return { drops: force, why: 'no other copy is known' }
  }

  #count(items: readonly PruneItem[], done: Done<PruneItem[]>): void {
    const without = new Set(items.filter(({ drops }) => drops).map(({ id }) => id))
    const terms = { liveMax: 1, bytesPerSecondMax: PRUNE_BYTES_PER_SECOND, dryRunWithout: without }
    this.#collecting.collect(terms, (outcome) =>
      done(outcome.ok ? ok([...items, chunksItem(outcome.value)]) : outcome),
    )
  }

  #drop(
    items: readonly PruneItem[],
    vouched: Vouched,
    force: boolean,
    settle: () => void,
    done: Done<PruneItem[]>,
  ): void {
    const dropped: PruneItem[] = []
    const collect = (): void => {
      settle()
      this.#collecting.collect({ liveMax: 1, bytesPerSecondMax: PRUNE_BYTES_PER_SECOND }, (outcome) =>
        done(outcome.ok ? ok([...dropped, chunksItem(outcome.value)]) : outcome),
      )
    }
    const next = (): void => {
      const item = items[dropped.length]
      if (item === undefined) return collect()
      // Something may refer to it by now.
      const fate = item.drops ? this.#fate(item.id, vouched, force) : item
      const { drops, why } = fate
      dropped.push({ ...item, drops, why })
      if (!drops) return next()
      this.#ports.manifests.remove(item.id, (outcome) => {
        if (!outcome.ok && outcome.failure.code !== 'NOT_FOUND') {
          settle()
          return done(failed(outcome.failure))
        }
        this.#ports.directory.withdraw(item.id)
        next()
      })
    }
    next()
  }

  /** What each takes of the store, alone: what they share is counted with each. */
  #weigh(images: readonly ImageId[], done: (weighed: Weighed[]) => void): void {
    const weighed: Weighed[] = []
    const next = (): void => {
      const image = images[weighed.length]
      if (image === undefined) return done(weighed)
      const weigh: Done<Held> = (held) => {
        // One that cannot be read may go all the same: it takes something, and nobody can say what.
        weighed.push({ image, bytes: held.ok ? held.value.bytes : 0 })
        next()
      }
      const { chunks, manifests } = this.#ports
      manifests.get(image, (found) => (found.ok ? heldOf(found.value, chunks, weigh) : weigh(found)))
    }
    next()
  }
}

const chunksItem = ({ chunks, bytes }: { chunks: number; bytes: number }): PruneItem => ({
  kind: 'chunks',
  id: '',
  name: `${chunks} chunks`,
  bytes,
  drops: chunks > 0,
  why: 'no image names them then',
})
