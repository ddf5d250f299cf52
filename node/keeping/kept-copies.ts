/**
 * Disks of VMs that have moved away, kept here: the way back is short, and they are a second copy. The oldest go first when room
 * is needed, and never the only copy: what one is the same as must be known (it was captured for the move), and another
 * peer must vouch for all of it (vouching.ts). What was set aside for other reasons (a copy that lost against a higher
 * epoch) may hold what nobody else has, and stays.
 *
 *   evict: its images on the list of what goes ─▶ ask who vouches ─▶ drop the folder ─▶ its manifests, where nothing else refers to them
 */
import type { Clock } from '../../protocols/clock.ts'
import type { Directory } from '../../protocols/directory.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { type Done, ok } from '../../protocols/outcome.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import type { Disks, KeptCopy } from '../hypervisor.ts'
import type { KeptView } from '../views.ts'
import { type Held, heldOf } from './held.ts'
import type { Known } from './pruning.ts'
import { keptReference } from './references.ts'
import type { Vouched, Vouching } from './vouching.ts'

type Ports = {
  readonly chunks: Pick<ChunkStore, 'sizes'>
  readonly clock: Clock
  readonly directory: Pick<Directory, 'withdraw'>
  readonly disks: Pick<Disks, 'drop' | 'kept' | 'weigh'>
  readonly manifests: ManifestStore
}

export class KeptCopies {
  readonly #ports: Ports
  readonly #known: Known
  readonly #vouching: Vouching
  /** What each was found to take; overlays that nobody writes do not change. */
  readonly #bytes = new Map<string, number>()
  #weighing = false

  constructor(ports: Ports, known: Known, vouching: Vouching) {
    this.#ports = ports
    this.#known = known
    this.#vouching = vouching
  }

  /** What all of them take; of what is new here it is looked at by the time this is asked again. */
  bytes(): number {
    const names = this.#ports.disks.kept().map(({ name }) => name)
    if (!this.#weighing && names.some((name) => !this.#bytes.has(name))) this.weigh(() => {})
    return names.reduce((sum, name) => sum + (this.#bytes.get(name) ?? 0), 0)
  }

  /** Looks at what each takes. */
  weigh(done: () => void): void {
    const names = this.#ports.disks.kept().map(({ name }) => name)
    for (const name of this.#bytes.keys()) if (!names.includes(name)) this.#bytes.delete(name)
    this.#weighing = true
    const next = (index: number): void => {
      const name = names[index]
      if (name === undefined) {
        this.#weighing = false
        return done()
      }
      // What lies on a base that another copy lies on changes with that one: all are looked at.
      this.#ports.disks.weigh(name, (outcome) => {
        this.#bytes.set(name, outcome.ok ? outcome.value : 0)
        next(index + 1)
      })
    }
    next(0)
  }

  /** All of them, the oldest first, and whether each may go. */
  list(done: Done<KeptView[]>): void {
    this.weigh(() => {
      const kept = this.#ports.disks.kept()
      this.#ask(kept, (vouched) =>
        done(
          ok(
            kept.map((copy) => {
              const { name, vm, atMs, content } = copy
              const by = this.#holder(copy, vouched)
              return {
                name,
                vm,
                since: new Date(atMs).toISOString(),
                bytes: this.#bytes.get(name) ?? 0,
                images: [...content],
                elsewhere: by === undefined ? '' : this.#known.nameOfPeer(by),
              }
            }),
          ),
        ),
      )
    })
  }

  /** Copies that may go now, the oldest first, and what comes back at most when all of them do. */
  spare(done: (copies: readonly KeptCopy[], bytes: number) => void): void {
    this.weigh(() => {
      const kept = this.#ports.disks.kept()
      this.#ask(kept, (vouched) => {
        const copies = kept.filter((copy) => this.#holder(copy, vouched) !== undefined)
        const folders = copies.reduce((sum, { name }) => sum + (this.#bytes.get(name) ?? 0), 0)
        this.#inStore(copies, (bytes) => done(copies, folders + bytes))
      })
    })
  }

  /** What the store holds of images to which only these refer. */
  #inStore(copies: readonly KeptCopy[], done: (bytes: number) => void): void {
    const references = this.#known.references()
    const own = new Set(copies.map(({ vm }) => keptReference(vm)))
    const images = [...new Set(copies.flatMap(({ bases, content }) => [...bases, ...content]))].filter(
      (image) => references.get(image)?.every((by) => own.has(by)),
    )
    const { chunks, manifests } = this.#ports
    const next = (index: number, sum: number): void => {
      const image = images[index]
      if (image === undefined) return done(sum)
      const add: Done<Held> = (held) => next(index + 1, sum + (held.ok ? held.value.bytes : 0))
      manifests.get(image, (found) => (found.ok ? heldOf(found.value, chunks, add) : add(found)))
    }
    next(0, 0)
  }

  /** Drops one, and the manifests that nothing refers to then; false when it has to stay after all. */
  evict(copy: KeptCopy, done: Done<boolean>): void {
    const images = [...new Set([...copy.bases, ...copy.content])]
    const going = images.filter((image) => this.#vouching.go(image))
    const settle: Done<boolean> = (outcome) => {
      for (const image of going) this.#vouching.settle(image)
      done(outcome)
    }
    if (!copy.content.every((image) => going.includes(image))) return settle(ok(false))
    this.#vouching.ask(going, this.#known.others(), (vouched) => {
      if (this.#known.unsettled() !== undefined || this.#holder(copy, vouched) === undefined)
        return settle(ok(false))
      this.#ports.disks.drop(copy.name, (dropped) => {
        if (!dropped.ok) return settle(dropped)
        this.#bytes.delete(copy.name)
        this.#forget(going, vouched, settle)
      })
    })
  }

  /** Takes away manifests of a copy that is gone; those that something else refers to, or that nobody vouches for, stay. */
  #forget(images: readonly ImageId[], vouched: Vouched, done: Done<boolean>): void {
    const next = (index: number): void => {
      const image = images[index]
      if (image === undefined) return done(ok(true))
      const isHeld = this.#ports.manifests.list().includes(image)
      const mayGo = isHeld && this.#isFresh(image, vouched) && !this.#known.references().has(image)
      if (!mayGo) return next(index + 1)
      this.#ports.manifests.remove(image, (outcome) => {
        if (!outcome.ok && outcome.failure.code !== 'NOT_FOUND') return done(outcome)
        this.#ports.directory.withdraw(image)
        next(index + 1)
      })
    }
    next(0)
  }

  #ask(kept: readonly KeptCopy[], done: (vouched: Vouched) => void): void {
    const images = new Set(kept.flatMap(({ content }) => content))
    this.#vouching.ask([...images], this.#known.others(), done)
  }

  /** A peer that holds all that the copy is the same as; undefined when none is known, or nobody can say what that is. */
  #holder({ content }: KeptCopy, vouched: Vouched): PeerId | undefined {
    return content.every((image) => this.#isFresh(image, vouched))
      ? vouched.get(content[0] ?? '')?.by
      : undefined
  }

  #isFresh(image: ImageId, vouched: Vouched): boolean {
    return this.#ports.clock.nowMs() < (vouched.get(image)?.untilMs ?? 0)
  }
}
