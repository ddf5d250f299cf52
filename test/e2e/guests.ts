/** Guests of a mesh of processes: what they print, which process they are, and where their disks lie. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JobView, VmView } from '../../node/views.ts'
import { buildGuestImage, type Heartbeat, heartbeats } from '../guest/guest.ts'
import { itemOf, type Mesh, machinesIn, must, type Peer, until } from './support.ts'

const MIB = 1024 ** 2

/** Imports the disk of a guest that counts; its name is the image's. */
export async function importGuest(
  mesh: Mesh,
  peer: Peer,
  name: string,
  image: { randomMiB?: number; seed?: number } = {},
): Promise<void> {
  const { randomMiB = 2, seed = 1 } = image
  const path = join(mesh.folder, `${name}.raw`)
  await buildGuestImage(path, { bytes: 64 * MIB, randomBytes: randomMiB * MIB, seed })
  await finished(mesh, peer, (await mesh.ask<{ job: string }>(peer, 'image.import', { name, path })).job)
}

/** Creates a VM that counts, and waits until it does. */
export async function createGuest(
  mesh: Mesh,
  peer: Peer,
  name: string,
  image: string,
  memory = '32MiB',
): Promise<VmView> {
  const flags = ['--image', image, '--memory', memory, '--cpus', '1', '-o', 'json']
  const { id } = itemOf<{ id: string }>(must(await mesh.godwit(peer, ['vm', 'create', name, ...flags])))
  const vm = (await mesh.ask<VmView[]>(peer, 'vm.list')).find((each) => each.id === id)
  if (vm === undefined) throw new Error(`${name} is created and not listed`)
  const host = mesh.peers.find((each) => each.name === vm.host) as Peer
  await counted(host, id, 1)
  return vm
}

/** A job's last view. */
export async function finished(mesh: Mesh, peer: Peer, job: string): Promise<JobView> {
  let view: JobView | undefined
  await until(`job ${job} to end`, async () => {
    view = await mesh.ask<JobView>(peer, 'job.show', { name: job })
    return view.state !== 'running'
  })
  return view as JobView
}

/** All whole lines that the guest of a VM ever printed on that host, in order: of `count=19`, `count=1` comes first. */
export function printed({ folder }: Peer, vm: string): Heartbeat[] {
  const log = join(folder, 'machines', vm, 'serial.log')
  return existsSync(log) ? heartbeats(readFileSync(log, 'latin1').split('\n').slice(0, -1)) : []
}

export const newest = (peer: Peer, vm: string): number => printed(peer, vm).at(-1)?.count ?? -1

/** Waits until the guest has printed that count or a higher one on that host. */
export async function counted(peer: Peer, vm: string, least: number): Promise<number> {
  await until(`${vm} to count to ${least} on ${peer.name}`, () => newest(peer, vm) >= least)
  return newest(peer, vm)
}

/** The process ids of guests on that host. */
export async function guestsOn({ folder }: Peer): Promise<number[]> {
  return (await machinesIn(folder))
    .map(({ guest }) => guest.pid)
    .filter((pid) => existsSync(`/proc/${pid}/stat`))
}

export async function vmNamed(mesh: Mesh, peer: Peer, name: string): Promise<VmView | undefined> {
  return (await mesh.ask<VmView[]>(peer, 'vm.list')).find((each) => each.name === name)
}
