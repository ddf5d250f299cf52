/**
 * Clients that write all the time, to the mesh's group and to their own site's, each through a peer that is ready: what an
 * operator would notice of an election or a restart. A write to a peer that was told to stop meanwhile is the client's
 * mistake; all others must be done.
 */
import type { Outcome } from '../protocols/outcome.ts'
import type { Cluster } from './cluster.ts'
import type { SimHost } from './host.ts'
import type { Random } from './random.ts'

/** Between two writes of one client. */
const EVERY_MS = 150

export class Writers {
  readonly #cluster: Cluster
  readonly #dice: Random
  #on = false
  done = 0
  slowestMs = 0
  readonly failed: string[] = []

  constructor(cluster: Cluster) {
    this.#cluster = cluster
    this.#dice = cluster.world.random('writers')
  }

  start(): void {
    this.#on = true
    for (const group of ['mesh', 'site'] as const) this.#write(group)
  }

  stop(): void {
    this.#on = false
  }

  #write(group: 'mesh' | 'site'): void {
    if (!this.#on) return
    const { world, hosts } = this.#cluster
    world.after(EVERY_MS, () => this.#write(group))
    const ready = hosts.filter(({ node }) => node?.ready() === true)
    if (ready.length === 0) return
    const host = this.#dice.pick(ready)
    const startedMs = world.nowMs
    this.#propose(group, host, (outcome) => {
      if (outcome.ok) {
        this.done++
        this.slowestMs = Math.max(this.slowestMs, world.nowMs - startedMs)
      } else if (outcome.failure.code !== 'STOPPING') {
        const { name } = host.terms
        this.failed.push(
          `${group} by ${name} at ${Math.round(startedMs)}: ${JSON.stringify(outcome.failure)}`,
        )
        world.say(`write failed: ${this.failed.at(-1)}`)
      }
    })
  }

  /** What changes nothing, so that it may be said again and again. */
  #propose(
    group: 'mesh' | 'site',
    { node, terms }: SimHost,
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    const agreement = node?.context.agreement
    if (agreement === undefined) return
    const peer = agreement.mesh.state.peers[terms.id]
    if (group === 'mesh')
      return agreement.proposeMesh(
        { kind: 'peer-update', peer: terms.id, addresses: peer?.addresses ?? [] },
        done,
      )
    const host = agreement.site.state.hosts[terms.id]
    if (host !== undefined) agreement.proposeSite({ kind: 'host-commit', ...host }, done)
  }
}
