import { execFileSync } from 'node:child_process'
import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { CapturedDisk, DiskHandle, Disks, Machine } from '../../../node/hypervisor.ts'
import { openDisks } from '../../../node/qemu/disks.ts'
import { qemuImageReader } from '../../../node/qemu/images.ts'
import { openHypervisor } from '../../../node/qemu/machine.ts'
import type { Done } from '../../../protocols/outcome.ts'
import { openChunkStore } from '../../../storage/files/chunk-store.ts'
import { materialise } from '../../../storage/files/export.ts'
import { importImage, type Stores } from '../../../storage/files/ingest.ts'
import { openManifestStore } from '../../../storage/files/manifest-store.ts'
import { asked } from '../../../storage/images/asked.ts'
import { buildManifest, type Manifest } from '../../../storage/images/manifest.ts'
import { contract, type Opened } from '../../contracts/disks.ts'
import { realUntil } from '../../contracts/until.ts'
import { buildGuestImage, heartbeats, readCounter } from '../../guest/guest.ts'
import { folderOf } from '../../storage/folder.ts'
import { countedTo } from './counted.ts'
import { machineConfig, vmNumber } from './machines.ts'
import { failureOf, valueOf } from './outcome.ts'

const KIB = 1024
const MIB = 1024 * KIB

async function storesIn(t: ExecutionContext, folder: string): Promise<Stores> {
  const chunks = valueOf(await openChunkStore(join(folder, 'chunks')))
  t.teardown(() => chunks.close())
  return { chunks, manifests: valueOf(await openManifestStore(join(folder, 'manifests'))) }
}

async function importGuest(
  folder: string,
  stores: Stores,
  bytes: number,
  randomBytes: number,
): Promise<Manifest> {
  const path = join(folder, 'guest.raw')
  await buildGuestImage(path, { bytes, randomBytes, seed: 1 })
  return valueOf(await importImage({ path, format: 'raw' }, qemuImageReader(folder), stores)).manifest
}

/** Of three chunks, the second with content and the last short; and one whose only chunk nobody holds. */
async function imagesIn(folder: string, stores: Stores): Promise<{ image: string; partial: string }> {
  const path = join(folder, 'small.raw')
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', path, '520K'])
  execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -q -P 1 256k 200k', path])
  const { manifest } = valueOf(await importImage({ path, format: 'raw' }, qemuImageReader(folder), stores))
  const missing = buildManifest(256 * KIB, 256 * KIB, Buffer.alloc(32, 5))
  await asked<void>((done) => stores.manifests.put(missing, done))
  return { image: manifest.image, partial: missing.image }
}

type Lives = { folder: string; stores: Stores; image: string; partial: string }

async function lives({ folder, stores, image, partial }: Lives): Promise<Opened> {
  return {
    disks: await openDisks({ folder: join(folder, 'disks'), ...stores }),
    ...stores,
    image,
    partial,
    until: realUntil,
    write: async (_vm, { path }, byte) =>
      void execFileSync('qemu-io', ['-f', 'qcow2', '-c', `write -q -P ${byte} 256k 256k`, path]),
    reopen: () => lives({ folder, stores, image, partial }),
  }
}

contract('the disks on QEMU', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  return lives({ folder, stores, ...(await imagesIn(folder, stores)) })
})

const prepareOn = (disks: Disks, vm: string, image: string): Promise<DiskHandle[]> =>
  asked((done: Done<DiskHandle[]>) => disks.prepare(vm, [{ image, bytes: 0 }], done))

test('two VMs share a base, which goes with the last of them', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const { image } = await imagesIn(folder, stores)
  const disks = await openDisks({ folder: join(folder, 'disks'), ...stores })
  const bases = (): Promise<string[]> => readdir(join(folder, 'disks', 'bases'))
  await Promise.all([1, 2].map((n) => prepareOn(disks, vmNumber(n), image)))
  t.deepEqual(await bases(), [`${image}.raw`])
  await asked<void>((done) => disks.remove(vmNumber(1), done))
  t.deepEqual(await bases(), [`${image}.raw`])
  await asked<void>((done) => disks.remove(vmNumber(2), done))
  t.deepEqual(await bases(), [])
})

test('a capture that was killed leaves nothing, and a long data folder is no hindrance to one', async (t) => {
  const folder = join(await folderOf(t), 'long'.repeat(30))
  await mkdir(folder)
  const stores = await storesIn(t, folder)
  const { image } = await imagesIn(folder, stores)
  const vms = join(folder, 'disks', 'vms')
  await mkdir(join(vms, 'nbd.partial-killed'), { recursive: true })
  const disks = await openDisks({ folder: join(folder, 'disks'), ...stores })
  t.deepEqual(await readdir(vms), [])
  await prepareOn(disks, vmNumber(1), image)
  const [captured] = await asked<CapturedDisk[]>((done) => disks.capture(vmNumber(1), done))
  t.is(captured?.newBytes, 0)
  t.deepEqual(await readdir(vms), [vmNumber(1)])
})

// Goal: the demo's move in one process. A guest counts on an overlay; what it wrote becomes an image that another host
// materialises; the guest there goes on from the count. While it runs its disks are not to be touched.
test('a guest that was stopped here goes on elsewhere from its captured disk', async (t) => {
  const folder = await folderOf(t)
  const stores = await storesIn(t, folder)
  const { image } = await importGuest(folder, stores, 32 * MIB, 4 * MIB)
  const disks = await openDisks({ folder: join(folder, 'disks'), ...stores })
  const hypervisor = await openHypervisor({ folder: join(folder, 'machines'), driver: 'tcg' })
  t.teardown(() => hypervisor.close())
  const vm = vmNumber(7)
  t.teardown(() => new Promise<void>((resolve) => hypervisor.kill(vm, () => resolve())))
  const config = machineConfig({ vm, disks: await prepareOn(disks, vm, image) })
  await asked<Machine>((done) => hypervisor.start(config, done))
  await countedTo(hypervisor, vm, 3)
  for (const call of ['capture', 'remove'] as const) {
    const refused = await new Promise<unknown>((resolve) =>
      disks[call](vm, (outcome) => resolve(failureOf(outcome).code)),
    )
    t.is(refused, 'ILLEGAL_STATE', call)
  }
  await asked<void>((done) => hypervisor.powerOff(vm, 10_000, done))
  const off = heartbeats(await asked<string[]>((done) => hypervisor.serialLog(vm, 1, done)))[0]

  const [captured] = await asked<CapturedDisk[]>((done) => disks.capture(vm, done))
  t.is(captured?.newBytes, 256 * KIB, 'a guest that counts changes one chunk')
  const elsewhere = join(folder, 'elsewhere.raw')
  const manifest = await asked<Manifest>((done) => stores.manifests.get(captured?.image ?? '', done))
  valueOf(await materialise(manifest, stores.chunks, elsewhere))
  t.is(await readCounter(elsewhere), off?.count ?? -1)
  t.true((await stat(elsewhere)).blocks * 512 < 8 * MIB, 'it stays sparse')
})
