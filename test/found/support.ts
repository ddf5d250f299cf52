/** A mesh of two sites with a guest or two, and what a test needs to bring it to the moment that was found to be bad. */
import assert from 'node:assert/strict'
import type { MeshMove } from '../../node/catalog/mesh.ts'
import type { SiteVm } from '../../node/catalog/site.ts'
import type { Context } from '../../node/context.ts'
import type { JobView } from '../../node/views.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { Cluster } from '../../simulator/cluster.ts'
import { simGuestImage } from '../../simulator/guest.ts'
import type { SimHost } from '../../simulator/host.ts'
import type { RunningGuest } from '../../simulator/hypervisor.ts'
import { specNamed } from '../../simulator/operators.ts'
import { World } from '../../simulator/world.ts'

const SITES = [
  { name: 'aa', peers: 2 },
  { name: 'bb', peers: 2 },
] as const

const CHUNK_BYTES = 4096

export class Mesh {
  readonly world: World
  readonly cluster: Cluster

  /** Formed, with an image of the name 'base' in site aa, whose first peer leads the mesh's group. */
  constructor(sites: readonly { readonly name: string; readonly peers: number }[] = SITES, founders = 1) {
    this.world = new World(1)
    const image = simGuestImage({ seed: 1, bytes: 64 * CHUNK_BYTES, chunkBytes: CHUNK_BYTES, dataChunks: 24 })
    const images = new Map([['base.raw', image]])
    this.cluster = new Cluster(this.world, { sites, memoryMiB: 16_384, images, founders })
    this.cluster.form(() => {})
    this.run(12_000)
    this.ask('aa-1', 'image.import', { name: 'base', path: 'base.raw', format: 'raw' })
    this.run(2_000)
  }

  run(ms: number): void {
    this.world.run(this.world.nowMs + ms)
  }

  /** Runs until the condition holds; how long that took. */
  until(what: string, condition: () => boolean, ms = 30_000): number {
    const start = this.world.nowMs
    while (!condition()) {
      assert(this.world.nowMs < start + ms, `not within ${ms} virtual ms: ${what}`)
      this.world.run(this.world.nowMs + 1)
    }
    return this.world.nowMs - start
  }

  host(name: string): SimHost {
    return this.cluster.host(name)
  }

  context(name: string): Context {
    const { node } = this.host(name)
    assert(node, `${name} has no peer`)
    return node.context
  }

  /** Asks without waiting; the answer comes into the array. */
  ask<T>(host: string, method: string, params: object): Outcome<T>[] {
    const answers: Outcome<T>[] = []
    this.cluster.ask<T>(this.host(host), method, params, (outcome) => answers.push(outcome))
    return answers
  }

  answer<T>(host: string, method: string, params: object): Outcome<T> {
    const answers = this.ask<T>(host, method, params)
    this.until(`${host} answers ${method}`, () => answers.length > 0)
    return answers[0] as Outcome<T>
  }

  value<T>(host: string, method: string, params: object): T {
    const outcome = this.answer<T>(host, method, params)
    assert(outcome.ok, outcome.ok ? '' : `${method}: ${JSON.stringify(outcome.failure)}`)
    return outcome.value
  }

  create(name: string): Outcome<{ id: string }> {
    return this.answer('aa-1', 'vm.create', { spec: specNamed(name), start: true, dryRun: false })
  }

  /** A new VM that runs on this host; a host of another site gets it by a move. */
  running(name: string, on: string): string {
    const created = this.create(name)
    assert(created.ok)
    const { id } = created.value
    this.until(`${name} runs`, () => this.whereRuns(id).length > 0)
    const [first] = this.whereRuns(id)
    if (first !== undefined && first !== on) {
      const job = this.move(first, name, on)
      this.until(`${name} has come to ${on}`, () => this.job(first, job)?.state === 'done')
      this.run(5_000)
    }
    assert.deepEqual(this.whereRuns(id), [on])
    return id
  }

  /** Begins a move at the VM's host; its job. */
  move(at: string, name: string, to: string): string {
    return this.value<{ job: string }>(at, 'vm.move', { name, to, mode: 'cold', dryRun: false }).job
  }

  /** Moves it, and waits until it runs there alone. */
  movesTo(at: string, name: string, to: string): void {
    const job = this.move(at, name, to)
    this.until(`${name} moves to ${to}`, () => this.job(at, job)?.state === 'done')
  }

  job(host: string, id: string): JobView | undefined {
    return this.context(host).jobs.get(id)
  }

  phaseIs(host: string, job: string, phase: string): void {
    this.until(`the move is ${phase}`, () => this.job(host, job)?.phase === phase)
  }

  /** The VM as this host's copy of its site's log has it. */
  vm(host: string, id: string): SiteVm | undefined {
    return this.context(host).agreement.site.state.vms[id]
  }

  /** Its newest move in the mesh's log, as this host has it. */
  handOver(host: string, id: string): MeshMove | undefined {
    return this.context(host).agreement.mesh.state.moves[id]
  }

  guests(): RunningGuest[] {
    return this.cluster.hosts.flatMap((host) => host.hypervisor.runningGuests())
  }

  /** Hosts on which its process runs, with true time. */
  whereRuns(id: string): string[] {
    return this.guests()
      .filter(({ vm }) => vm === id)
      .map(({ host }) => host)
  }
}
