/** Images brought here: one, or several one after the other, as moves and reconciliation ask for them; their costs add up. */
import type { ImageId, PeerId } from '../protocols/ids.ts'
import { addCosts, type Cost, NO_COST } from '../protocols/move/messages.ts'
import { ok } from '../protocols/outcome.ts'
import { type DownloadRequest, openSwarm, type Swarm, type SwarmPorts } from '../migration/swarm/swarm.ts'
import type { Pull } from './moving/around.ts'

export class Pulling {
  readonly #swarm: Swarm
  readonly #hints: () => readonly PeerId[]
  readonly #near: (peer: PeerId) => boolean

  /** `hints`: peers worth asking for any image, nearest first. */
  constructor(ports: SwarmPorts, hints: () => readonly PeerId[], near: (peer: PeerId) => boolean) {
    this.#swarm = openSwarm(ports)
    this.#hints = hints
    this.#near = near
  }

  readonly pull: Pull = (images, holders, onCost, done) => {
    const total = images.reduce((sum, { bytes }) => sum + bytes, 0)
    let spent: Cost = { ...NO_COST, totalBytes: total }
    let cancel = (): void => {}
    const next = (index: number): void => {
      const image = images[index]
      if (image === undefined) return done(ok(spent))
      const download = this.#swarm.download({
        image: image.image,
        ...(image.only && { only: image.only }),
        sources: [...holders, ...this.#hints().filter((peer) => !holders.includes(peer))],
        near: this.#near,
        onProgress: (progress) => {
          onCost(plus(spent, progress))
        },
        done: (outcome) => {
          if (!outcome.ok) return done(outcome)
          const { dedupBytes, compressedBytes, wireBytes, sources } = outcome.value.report
          spent = plus(spent, {
            doneBytes: image.bytes,
            dedupBytes,
            compressedBytes,
            wireBytes,
            sources,
          })
          onCost(spent)
          next(index + 1)
        },
      })
      cancel = () => download.cancel()
    }
    next(0)
    return { cancel: () => cancel() }
  }

  /** One image, from `sources` first, or from nobody else when it is `exclusive`. */
  readonly download = (
    image: ImageId,
    { sources, ...terms }: Pick<DownloadRequest, 'sources' | 'exclusive' | 'only' | 'bytesPerSecond'>,
    on: Pick<DownloadRequest, 'onProgress' | 'done'>,
  ): { cancel(): void } => {
    const hints = terms.exclusive === true ? [] : this.#hints().filter((peer) => !sources.includes(peer))
    return this.#swarm.download({ image, ...terms, sources: [...sources, ...hints], near: this.#near, ...on })
  }

  stop(): void {
    this.#swarm.stop()
  }
}

/** `totalBytes` is that of all images, known from the start. */
const plus = (spent: Cost, more: Omit<Cost, 'totalBytes'>): Cost =>
  addCosts(spent, { ...more, totalBytes: 0 })
