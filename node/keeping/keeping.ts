/**
 * What stays of images on this peer, and why: pins, what its VMs, moves and jobs refer to, kept copies; and what may go.
 * The parts: references.ts (the roots), pins.ts, vouching.ts (who else holds it), pruning.ts, collecting.ts.
 */
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import type { Agreement } from '../agreement.ts'
import type { Asking } from '../asking.ts'
import type { Ports } from '../context.ts'
import { peersOfSite } from '../catalog/mesh.ts'
import type { Jobs } from '../jobs.ts'
import type { Pull } from '../moving/around.ts'
import type { Moves } from '../moving/moves.ts'
import type { Vms } from '../reconcile/vms.ts'
import { Collecting } from './collecting.ts'
import { Pins } from './pins.ts'
import { type Known, Pruning } from './pruning.ts'
import { precious, references } from './references.ts'
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
  readonly #around: () => Around
  readonly #ports: Ports
  /** Jobs that work on an image now, by image. */
  readonly #uses = new Map<ImageId, number>()

  constructor(ports: Ports, asking: Pick<Asking, 'there'>, around: () => Around) {
    this.#ports = ports
    this.#around = around
    this.pins = new Pins(ports.store)
    this.vouching = new Vouching(ports, asking)
    this.collecting = new Collecting(ports.chunks, ports.manifests)
    this.pruning = new Pruning(ports, this.#known(), this.vouching, this.collecting)
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
      return pull(images, holders, onCost, (outcome) => {
        done(outcome)
        for (const use of uses) use.release()
      })
    }
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

  /** Of the own site first. */
  #others(): PeerId[] {
    const { agreement, self, site } = this.#around()
    const near = new Set(peersOfSite(agreement.mesh.state, site))
    return this.#ports.transport
      .connected()
      .filter((peer) => peer !== self)
      .toSorted((a, b) => Number(near.has(b)) - Number(near.has(a)))
  }
}
