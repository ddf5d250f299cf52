/** The downloads of one peer: one for each image, however many asked for it, and the peers that were banned. */
import type { ChunkId, ImageId, PeerId } from '../../protocols/ids.ts'
import { BAN_MS, DOWNLOADS_MAX } from '../../protocols/limits.ts'
import { failed } from '../../protocols/outcome.ts'
import { Job } from './job.ts'
import type { DownloadRequest, SwarmPorts } from './swarm.ts'

export class Downloads {
  readonly #ports: SwarmPorts
  readonly #gained: (image: ImageId, index: number, id: ChunkId) => void
  readonly #jobs = new Map<ImageId, Job>()
  /** Until when. */
  readonly #banned = new Map<PeerId, number>()

  readonly #askers: (image: ImageId) => PeerId[]

  /** `gained`: a chunk was stored, so it can be served. `askers`: who asks for an image here now. */
  constructor(
    ports: SwarmPorts,
    gained: (image: ImageId, index: number, id: ChunkId) => void,
    askers: (image: ImageId) => PeerId[],
  ) {
    this.#ports = ports
    this.#gained = gained
    this.#askers = askers
  }

  begin(request: DownloadRequest): { cancel(): void } {
    const { image } = request
    let job = this.#jobs.get(image)
    if (job === undefined) {
      if (this.#jobs.size >= DOWNLOADS_MAX) {
        const peer = this.#ports.transport.self
        this.#ports.clock.after(0, () => request.done(failed({ code: 'PEER_BUSY', peer, what: 'downloads' })))
        return { cancel: () => {} }
      }
      const fresh: Job = new Job(image, this.#ports, {
        gained: (index, id) => this.#gained(image, index, id),
        isBanned: (peer) => this.#isBanned(peer),
        ban: (peer) => this.#banned.set(peer, this.#ports.clock.nowMs() + BAN_MS),
        ended: () => {
          if (this.#jobs.get(image) === fresh) this.#jobs.delete(image)
        },
      })
      job = fresh
      this.#jobs.set(image, fresh)
    }
    const joined = job.join(request)
    for (const peer of this.#askers(image)) job.met(peer, true)
    return joined
  }

  /** A peer that asks for an image here has, or will have, some of it; until it asks no more. */
  met(peer: PeerId, image: ImageId, begins: boolean): void {
    this.#jobs.get(image)?.met(peer, begins)
  }

  stop(): void {
    for (const job of this.#jobs.values()) job.stop()
  }

  #isBanned(peer: PeerId): boolean {
    const untilMs = this.#banned.get(peer)
    if (untilMs === undefined) return false
    if (this.#ports.clock.nowMs() < untilMs) return true
    this.#banned.delete(peer)
    return false
  }
}
