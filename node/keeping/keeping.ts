/**
 * What stays of images on this peer, and why: pins, what its VMs, moves and jobs refer to, kept copies; and what may go.
 * The parts: references.ts (the roots), pins.ts, vouching.ts (who else holds it), pruning.ts, collecting.ts.
 */
import type { Failure } from '../../protocols/errors.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { FRAME_SHARE } from '../../protocols/limits.ts'
import { type Done, failed } from '../../protocols/outcome.ts'
import type { Agreement } from '../agreement.ts'
import type { Asking } from '../asking.ts'
import type { Ports } from '../context.ts'
import { peersOfSite } from '../catalog/mesh.ts'
import type { Jobs } from '../jobs.ts'
import type { Pull } from '../moving/around.ts'
import type { Moves } from '../moving/moves.ts'
import type { Vms } from '../reconcile/vms.ts'
import { Collecting } from './collecting.ts'
import { KeptCopies } from './kept-copies.ts'
import { Pins } from './pins.ts'
import { type Known, Pruning } from './pruning.ts'
import { precious, references } from './references.ts'
import { type Quota, type Reservation, Room } from './room.ts'
import { Vouching } from './vouching.ts'

/** Complete once all parts of the peer are made. */
type Around = {
  readonly self: PeerId
  readonly site: string
  readonly agreement: Agreement
  readonly jobs: Jobs
  readonly moves: Moves
  readonly vms: Vms
}

export class Keeping {
  readonly pins: Pins
  readonly vouching: Vouching
  readonly collecting: Collecting
  readonly pruning: Pruning
  readonly kept: KeptCopies
  readonly room: Room
  readonly #around: () => Around
  readonly #ports: Ports
  /** Jobs that work on an image now, by image. */
  readonly #uses = new Map<ImageId, number>()

  constructor(ports: Ports, quota: Quota | undefined, asking: Pick<Asking, 'there'>, around: () => Around) {
    this.#ports = ports
    this.#around = around
    this.pins = new Pins(ports.store)
    this.vouching = new Vouching(ports, asking)
    this.collecting = new Collecting(ports.chunks, ports.manifests)
    this.pruning = new Pruning(ports, this.#known(), this.vouching, this.collecting)
    this.kept = new KeptCopies(ports, this.#known(), this.vouching)
    const disk = (): { totalBytes: number; freeBytes: number } => ports.host.disk()
    this.room = new Room({ chunks: ports.chunks, disk, quota }, this.kept, this.collecting)
  }

  /** The image stays until `release` is called, at least. */
  use(image: ImageId): { release(): void } {
    this.#uses.set(image, (this.#uses.get(image) ?? 0) + 1)
    let released = false
    return {
      release: () => {
        if (released) return
        released = true
        const left = (this.#uses.get(image) ?? 1) - 1
        if (left > 0) this.#uses.set(image, left)
        else this.#uses.delete(image)
      },
    }
  }

  /** What is being brought here is in use. */
  using(pull: Pull): Pull {
    return (images, holders, onCost, done) => {
      const uses = images.map(({ image }) => this.use(image))
      let stopped: Failure | undefined
      const room = this.room.watch(`image ${(images[0]?.image ?? '').slice(0, 12)}`, (failure) => {
        stopped = failure
        pulled.cancel()
      })
      const pulled = pull(
        images,
        holders,
        (cost) => {
          room.look()
          onCost(cost)
        },
        (outcome) => {
          done(outcome.ok || stopped === undefined ? outcome : failed(stopped))
          for (const use of [...uses, room]) use.release()
        },
      )
      return pulled
    }
  }

  /** Room for what is missing here of an image: content, of which frames take a part. */
  roomFor(image: ImageId, contentBytes: number, done: Done<Reservation>): void {
    const name = this.#known().nameOf(image) || image.slice(0, 12)
    this.room.want(`image ${name}`, contentBytes * FRAME_SHARE, done)
  }

  /** What refers to each image on this peer, in words. */
  references(): Map<ImageId, string[]> {
    const { moves, vms } = this.#around()
    return references({
      grants: vms.grants(),
      moves: moves.images().map(({ name, images }) => ({ name, images: images ?? [] })),
      promises: vms.promises(),
      kept: this.#ports.disks.kept(),
      pins: this.pins.list(),
      uses: [...this.#uses.keys()],
    })
  }

  #known(): Known {
    return {
      references: () => this.references(),
      precious: () => {
        const { images, vms } = this.#around().agreement.site.state
        return precious(Object.values(images), Object.values(vms), this.#ports.disks.kept())
      },
      unsettled: () => this.#unsettled(),
      others: () => this.#others(),
      nameOf: (image) => {
        const named = Object.values(this.#around().agreement.site.state.images)
        return named.find((each) => each.image === image)?.name ?? ''
      },
      nameOfPeer: (peer) => this.#around().agreement.mesh.state.peers[peer]?.name ?? peer,
    }
  }

  #unsettled(): string | undefined {
    const { agreement, jobs, moves, vms } = this.#around()
    // An empty catalog names no image because nothing was heard of it yet.
    if (agreement.site.appliedIndex === 0 || !vms.settled) return 'this peer has yet to hear from its site'
    const move = moves.images().find(({ images }) => images === undefined)
    if (move !== undefined) return `a move of ${move.name} may need it`
    const imports = jobs.list().some(({ kind, state }) => kind === 'image-import' && state === 'running')
    return imports ? 'an import that has no name yet may need it' : undefined
  }

  /** Where VMs of which copies are kept went first, then the own site. */
  #others(): PeerId[] {
    const { agreement, self, site } = this.#around()
    const { mesh } = agreement
    const near = new Set(peersOfSite(mesh.state, site))
    const hosts = new Set(
      this.#ports.disks
        .kept()
        .map(({ vm }) => agreement.site.state.vms[vm]?.host ?? mesh.state.moves[vm]?.host ?? ''),
    )
    const rank = (peer: PeerId): number => (hosts.has(peer) ? 2 : Number(near.has(peer)))
    return this.#ports.transport
      .connected()
      .filter((peer) => peer !== self)
      .toSorted((a, b) => rank(b) - rank(a))
  }
}
