/** Peers of one site that hold images and prune, on the simulator's disks, network and time. */
import { Asking } from '../../../node/asking.ts'
import { Collecting } from '../../../node/keeping/collecting.ts'
import { Pins } from '../../../node/keeping/pins.ts'
import { type Known, Pruning } from '../../../node/keeping/pruning.ts'
import { Vouching } from '../../../node/keeping/vouching.ts'
import type { PruneItem } from '../../../node/views.ts'
import type { ImageId } from '../../../protocols/ids.ts'
import type { Done, Outcome } from '../../../protocols/outcome.ts'
import { SimStore } from '../../../simulator/store.ts'
import { holds, type Image, type Peer, Stage } from '../../migration/swarm/support.ts'

export type Keeper = {
  peer: Peer
  store: SimStore
  pins: Pins
  pruning: Pruning
  vouching: Vouching
  /** What of the rest of the peer refers to an image; it outlives the peer, as grants do. */
  readonly refers: Set<ImageId>
  unsettled: string | undefined
}

export class Scene {
  readonly stage: Stage
  /** Images that the site has named. */
  readonly named = new Set<ImageId>()
  readonly keepers: Keeper[] = []

  constructor(seed: number, holdings: readonly (readonly Image[])[]) {
    this.stage = new Stage(seed)
    for (const [at, images] of holdings.entries()) {
      const peer = this.stage.peer(
        `p${at}`,
        'one',
        images.map((image) => ({ image })),
      )
      const store = new SimStore(this.stage.world, peer.id)
      const keeper = { peer, store, refers: new Set<ImageId>(), unsettled: undefined }
      this.keepers.push(Object.assign(keeper, this.#parts(keeper)))
    }
  }

  /** A power cut, then the next life on what its disks kept. */
  restart(keeper: Keeper): void {
    keeper.store.crash()
    keeper.peer = this.stage.restart(keeper.peer)
    keeper.store = keeper.store.reopen()
    Object.assign(keeper, this.#parts(keeper))
  }

  prune(
    keeper: Keeper,
    terms: { dryRun?: boolean; force?: boolean } = {},
  ): { outcome?: Outcome<PruneItem[]> } {
    const run: { outcome?: Outcome<PruneItem[]> } = {}
    keeper.pruning.prune({ dryRun: false, force: false, ...terms }, (outcome) => {
      if (run.outcome !== undefined) throw new Error('done twice')
      run.outcome = outcome
    })
    return run
  }

  run(ms: number, check: () => void = () => {}): void {
    this.stage.world.run(this.stage.world.nowMs + ms, check)
  }

  /** Asks a port and runs until it has answered. */
  settle<T>(call: (done: Done<T>) => void, check?: () => void): T {
    const answers: Outcome<T>[] = []
    call((answer) => answers.push(answer))
    for (let ms = 0; answers.length === 0 && ms < 10_000; ms++) this.run(1, check)
    const [outcome] = answers
    if (outcome?.ok !== true) throw new Error(JSON.stringify(outcome ?? 'no answer'))
    return outcome.value
  }

  #parts(keeper: Pick<Keeper, 'peer' | 'store' | 'refers'>): Pick<Keeper, 'pins' | 'pruning' | 'vouching'> {
    const { peer, store, refers } = keeper
    const { chunks, manifests, sim } = peer
    const { transport, directory, life } = sim
    const pins = new Pins(store)
    const handlers = {
      'image.vouch': ({ images }: { images: ImageId[] }, done: Done<unknown>) =>
        vouching.answer(images, done),
    }
    const asking = new Asking(
      transport,
      handlers,
      (_, params) => params,
      (failure) => failure,
    )
    const vouching: Vouching = new Vouching({ clock: life.clock, chunks, manifests }, asking)
    const known: Known = {
      references: () =>
        new Map([...refers, ...pins.list().map(({ image }) => image)].map((image) => [image, ['something']])),
      precious: () => this.named,
      unsettled: () => (keeper as Keeper).unsettled,
      others: () => this.keepers.map(({ peer: { id } }) => id).filter((id) => id !== peer.id),
      nameOf: () => '',
      nameOfPeer: (id) => id,
    }
    const ports = { clock: life.clock, chunks, directory, manifests }
    const pruning = new Pruning(ports, known, vouching, new Collecting(chunks, manifests))
    return { pins, pruning, vouching }
  }
}

/** Whether a peer holds all of an image, by name. */
export const isWhole = ({ peer }: Keeper, image: Image): boolean =>
  peer.manifests.list().includes(image.manifest.image) && holds(peer, image)
