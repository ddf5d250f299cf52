import test, { type ExecutionContext } from 'ava'
import { SimChunkStore, SimManifestStore } from '../../simulator/chunk-store.ts'
import { SimDisks } from '../../simulator/disks.ts'
import { simGuestImage } from '../../simulator/guest.ts'
import { COUNT_MS, SimHypervisor } from '../../simulator/hypervisor.ts'
import { World } from '../../simulator/world.ts'
import type { DiskHandle, MachineConfig } from '../../node/hypervisor.ts'
import { contract, type Opened } from '../contracts/hypervisor.ts'
import { outcomeOf, worldUntil } from '../contracts/until.ts'
import { machineConfig, vmNumber } from '../node/qemu/machines.ts'
import { valueOf } from '../node/qemu/outcome.ts'

const image = simGuestImage({ seed: 1, bytes: 64 * 1024, chunkBytes: 4096, dataChunks: 4 })

type Host = { world: World; disks: SimDisks; hypervisor: SimHypervisor; stores: ReturnType<typeof stores> }

function stores(world: World): { chunks: SimChunkStore; manifests: SimManifestStore } {
  return {
    chunks: new SimChunkStore(world, 'a', image.frames),
    manifests: new SimManifestStore(world, 'a', new Map([[image.manifest.image, image.manifest]])),
  }
}

function newHost(seed = 1): Host {
  const world = new World(seed)
  const its = stores(world)
  const disks = new SimDisks(world, its)
  return { world, stores: its, disks, hypervisor: new SimHypervisor(world, 'a', disks) }
}

async function machineOn({ world, disks }: Host, number: number): Promise<MachineConfig> {
  const vm = vmNumber(number)
  const source = { image: image.manifest.image, bytes: image.manifest.bytes }
  const prepared = await outcomeOf<DiskHandle[]>(worldUntil(world), (done) =>
    disks.prepare(vm, [source], done),
  )
  return machineConfig({ vm, disks: valueOf(prepared) })
}

let numbers = 0

const lives = (host: Host): Opened => ({
  hypervisor: host.hypervisor,
  until: worldUntil(host.world),
  machine: () => machineOn(host, ++numbers),
  crashGuest: async (vm) => host.hypervisor.crashGuest(vm),
  end: async () => {
    host.hypervisor.crash()
    host.disks.crash()
  },
  reopen: async () => {
    const disks = host.disks.reopen(host.stores)
    return lives({ ...host, disks, hypervisor: host.hypervisor.reopen(disks) })
  },
})

contract('the hypervisor in the simulator', async () => lives(newHost()))

async function counting(t: ExecutionContext, seed = 1): Promise<Host & { machine: MachineConfig }> {
  const host = newHost(seed)
  const machine = await machineOn(host, 1)
  host.hypervisor.start(machine, ({ ok }) => t.true(ok))
  host.world.run(host.world.nowMs + 5_000)
  return { ...host, machine }
}

test('a guest counts ten times a second, and its disk has the count when it ends', async (t) => {
  const { world, disks, hypervisor, machine } = await counting(t)
  const [before] = hypervisor.runningGuests()
  world.run(world.nowMs + 10_000)
  const [after] = hypervisor.runningGuests()
  t.is((after?.count ?? 0) - (before?.count ?? 0), 10_000 / COUNT_MS)
  hypervisor.kill(machine.vm, ({ ok }) => t.true(ok))
  world.run(world.nowMs + 100)
  t.deepEqual(hypervisor.runningGuests(), [])
  const chunk = Buffer.from(disks.readChunk(machine.vm, 1) ?? [])
  t.true(chunk.readUInt32LE(8) >= (after?.count ?? Infinity))
})

test('a power cut ends peer and guests; the next life hears of it and counts on', async (t) => {
  const { world, disks, hypervisor, stores, machine } = await counting(t)
  const count = hypervisor.runningGuests()[0]?.count ?? 0
  hypervisor.powerCut()
  disks.crash()
  t.deepEqual(hypervisor.runningGuests(), [])
  const next = disks.reopen(stores)
  const again = hypervisor.reopen(next)
  const told: string[] = []
  again.onEvent(({ why }) => told.push(why))
  again.inspect((outcome) => t.deepEqual(valueOf(outcome), []))
  world.run(world.nowMs + 1_000)
  t.deepEqual(told, ['killed'])
  again.start(machine, ({ ok }) => t.true(ok))
  world.run(world.nowMs + 5_000)
  t.true((again.runningGuests()[0]?.count ?? 0) > count)
})

test('a guest that hangs is powered off by nobody, and killed', async (t) => {
  const { world, hypervisor, machine } = await counting(t)
  hypervisor.hangGuest(machine.vm)
  hypervisor.powerOff(machine.vm, 3_000, (outcome) => t.like(outcome, { failure: { code: 'TIMEOUT' } }))
  world.run(world.nowMs + 60_000)
  t.is(hypervisor.runningGuests().length, 1)
  hypervisor.kill(machine.vm, ({ ok }) => t.true(ok))
  world.run(world.nowMs + 100)
  t.is(hypervisor.runningGuests().length, 0)
  t.plan(5)
})

test('a start goes on when the peer dies in the middle of it', async (t) => {
  const host = newHost()
  const machine = await machineOn(host, 1)
  host.hypervisor.start(machine, () => t.fail('a dead peer is answered'))
  host.hypervisor.crash()
  const next = host.hypervisor.reopen(host.disks)
  next.inspect((outcome) => t.is(valueOf(outcome).length, 1))
  host.world.run(host.world.nowMs + 1_000)
  t.is(next.runningGuests().length, 1)
  t.plan(2)
})

test('the same seed gives the same guests', async (t) => {
  const hashes = await Promise.all([3, 3, 4].map(async (seed) => (await counting(t, seed)).world.hash()))
  t.is(hashes[0], hashes[1])
  t.not(hashes[0], hashes[2])
})
