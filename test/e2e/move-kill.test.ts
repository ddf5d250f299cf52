/**
 * kill -9 of either side in the middle of a move: after a restart the move is done or it is cancelled, and the guest never
 * goes back and never runs twice. The guest writes each count to its disk before it prints it, so two that run from one
 * disk print the same count twice.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { JobView, VmView } from '../../node/views.ts'
import type { Heartbeat } from '../guest/guest.ts'
import { counted, createGuest, guestsOn, importGuest, newest, printed, vmNamed } from './guests.ts'
import { Mesh, type Peer, until } from './support.ts'

const SAMPLE_MS = 40

const mesh = new Mesh()
let crane: Peer
let mast: Peer

test.before('two sites of one host', async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  mast = await mesh.peer('mast', 'hill', { driver: 'tcg' })
  await mesh.form(crane, mast)
})
test.after.always(() => mesh.close())

type Said = Heartbeat & { readonly host: string }

/** Everything that a VM prints on any host, as it comes: a log goes when its VM has left. */
class Witness {
  readonly said: Said[] = []
  readonly #vm: string
  readonly #seen = new Map<string, number>()
  readonly #watching: Promise<void>
  #over = false

  constructor(vm: string) {
    this.#vm = vm
    this.#watching = this.#watch()
  }

  async end(): Promise<readonly Said[]> {
    this.#over = true
    await this.#watching
    return this.said
  }

  async #watch(): Promise<void> {
    while (!this.#over) {
      for (const peer of [crane, mast]) {
        const lines = printed(peer, this.#vm)
        const seen = this.#seen.get(peer.name) ?? 0
        this.said.push(
          ...lines.slice(lines.length < seen ? 0 : seen).map((each) => ({ ...each, host: peer.name })),
        )
        this.#seen.set(peer.name, lines.length)
      }
      await sleep(SAMPLE_MS)
    }
  }
}

/** What a guest may not say. */
function faultsOf(said: readonly Said[]): string[] {
  const counts = new Set<number>()
  return said.flatMap(({ count, host, kind }, index) => {
    const before = said[index - 1]?.count ?? 0
    const twice = kind === 'count' && counts.has(count)
    if (kind === 'count') counts.add(count)
    return [
      ...(count < before ? [`${host}: ${kind} ${count} after ${before}`] : []),
      ...(twice ? [`${host}: ${count} again`] : []),
    ]
  })
}

/** Each with what takes long enough on loopback for the move to be met there. */
const cases: [who: 'source' | 'destination', phases: string[], randomMiB: number][] = [
  ['source', ['seeding'], 24],
  ['destination', ['seeding'], 24],
  ['source', ['fetching', 'preparing'], 8],
  ['destination', ['fetching', 'preparing'], 8],
]

for (const [seed, [who, phases, randomMiB]] of cases.entries()) {
  test.serial(`kill -9 of the ${who} while a move is ${phases.join(' or ')}`, async (t) => {
    const name = `guest${seed}`
    await importGuest(mesh, crane, name, { randomMiB, seed })
    const vm = await createGuest(mesh, crane, name, name)
    const witness = new Witness(vm.id)
    const victim = who === 'source' ? crane : mast

    const { job } = await mesh.ask<{ job: string }>(crane, 'vm.move', { name, to: 'hill' })
    let phase = ''
    await until(`the move to be ${phases.join(' or ')}`, async () => {
      const view = await mesh.ask<JobView>(crane, 'job.show', { name: job })
      phase = view.phase
      return phases.includes(phase) || view.state !== 'running'
    })
    const before = newest(crane, vm.id)
    await mesh.kill(victim)
    await mesh.up(victim)

    let end: VmView | undefined
    await until('the move to be over', async () => {
      end = await vmNamed(mesh, crane, name)
      return end?.state === 'running' && end.job === ''
    })
    const host = end?.host === 'mast' ? mast : crane
    await counted(host, vm.id, before + 2)
    const said = await witness.end()
    t.log(`killed while ${phase}, ended on ${host.name}`)
    t.deepEqual(faultsOf(said), [])
    t.is((await guestsOn(crane)).length + (await guestsOn(mast)).length, 1)
    await mesh.ask(host, 'vm.stop', { name, kill: true })
  })
}
