/** What the disks of every host promise (node/hypervisor.ts). `open` opens a host without any, and one image. */
import test, { type ExecutionContext } from 'ava'
import type { CapturedDisk, DiskHandle, Disks } from '../../node/hypervisor.ts'
import type { ImageId, VmId } from '../../protocols/ids.ts'
import type { Done, Outcome } from '../../protocols/outcome.ts'
import type { ChunkStore, ManifestStore } from '../../storage/images/chunk-store.ts'
import { chunkAt, chunkCount, type Manifest, partsOf } from '../../storage/images/manifest.ts'
import { vmNumber } from '../node/qemu/machines.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly disks: Disks
  readonly chunks: ChunkStore
  readonly manifests: ManifestStore
  readonly until: Until
  /** An image that is held, of at least two chunks, the second of which is not zeros. */
  readonly image: ImageId
  /** An image of which some chunks are not held. */
  readonly partial: ImageId
  /** Fills the second chunk of a disk with a byte, as a guest would. */
  write(vm: VmId, handle: DiskHandle, byte: number): Promise<void>
  /** Ends this life of the peer, and opens the same disks in the next. */
  reopen(): Promise<Opened>
}

const vm = vmNumber(1)
const WRITTEN_CHUNK = 1

class Host {
  readonly opened: Opened

  constructor(opened: Opened) {
    this.opened = opened
  }

  async value<T>(call: (disks: Disks, done: Done<T>) => void): Promise<T> {
    const outcome = await this.outcome(call)
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
    return outcome.value
  }

  outcome<T>(call: (disks: Disks, done: Done<T>) => void): Promise<Outcome<T>> {
    return outcomeOf(this.opened.until, (done) => call(this.opened.disks, done))
  }

  prepare = (bytes = 0, image = this.opened.image): Promise<DiskHandle[]> =>
    this.value((disks, done) => disks.prepare(vm, [{ image, bytes }], done))
  capture = (): Promise<CapturedDisk[]> => this.value((disks, done) => disks.capture(vm, done))

  async manifest(image: ImageId): Promise<Manifest> {
    const { manifests, until } = this.opened
    const outcome = await outcomeOf<Manifest>(until, (done) => manifests.get(image, done))
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
    return outcome.value
  }
}

const hashes = (manifest: Manifest): string =>
  [...partsOf(manifest)].map((part) => part.toString('hex')).join('')

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  const opened = async (t: ExecutionContext): Promise<Host> => new Host(await open(t))

  test(`${name} captures an untouched disk as the image it came from`, async (t) => {
    const host = await opened(t)
    const { image, disks } = host.opened
    t.false(disks.has(vm))
    t.is((await host.prepare()).length, 1)
    t.true(disks.has(vm))
    const { bytes } = await host.manifest(image)
    t.deepEqual(await host.capture(), [{ image, bytes, newBytes: 0 }])
  })

  test(`${name} captures what was written, and only that is new`, async (t) => {
    const host = await opened(t)
    const { image } = host.opened
    const [handle] = await host.prepare()
    await host.opened.write(vm, handle as DiskHandle, 7)
    const [captured] = (await host.capture()) as [CapturedDisk]
    t.not(captured.image, image)
    const [base, next] = [await host.manifest(image), await host.manifest(captured.image)]
    t.is(captured.newBytes, base.chunkBytes)
    t.is(next.bytes, base.bytes)
    const [before, after] = [hashes(base), hashes(next)]
    t.is(after.slice(0, 64), before.slice(0, 64))
    t.not(after.slice(64, 128), before.slice(64, 128))
    t.is(after.slice(128), before.slice(128))
    const id = chunkAt(next, WRITTEN_CHUNK) as string
    const held = await outcomeOf<boolean[]>(host.opened.until, (done) => host.opened.chunks.has([id], done))
    t.deepEqual(held, { ok: true, value: [true] })
    t.deepEqual(await host.capture(), [{ ...captured, newBytes: 0 }], 'a second capture finds it held')

    await host.opened.write(vm, handle as DiskHandle, 0)
    const [zeroed] = (await host.capture()) as [CapturedDisk]
    t.is(chunkAt(await host.manifest(zeroed.image), WRITTEN_CHUNK), undefined, 'zeros are no chunk')
    t.is(zeroed.newBytes, 0)
  })

  test(`${name} keeps what a guest wrote, in the next life too`, async (t) => {
    let host = await opened(t)
    const [handle] = await host.prepare()
    await host.opened.write(vm, handle as DiskHandle, 9)
    const captured = await host.capture()
    t.deepEqual(await host.prepare(), [handle])
    host = new Host(await host.opened.reopen())
    t.true(host.opened.disks.has(vm))
    t.deepEqual(await host.prepare(), [handle])
    t.like(await host.capture(), [{ ...captured[0], newBytes: 0 }])
  })

  test(`${name} makes a disk larger than its image`, async (t) => {
    const host = await opened(t)
    const { bytes } = await host.manifest(host.opened.image)
    const larger = bytes * 3
    const [handle] = await host.prepare(larger)
    await host.opened.write(vm, handle as DiskHandle, 5)
    const [captured] = (await host.capture()) as [CapturedDisk]
    t.is(captured.bytes, larger)
    const manifest = await host.manifest(captured.image)
    t.is(manifest.bytes, larger)
    t.is(chunkAt(manifest, chunkCount(manifest) - 1), undefined)
    t.is(captured.newBytes, manifest.chunkBytes)
  })

  test(`${name} makes no disk of an image that is not whole here, or not known`, async (t) => {
    const host = await opened(t)
    const refused = async (image: ImageId): Promise<unknown> =>
      host.outcome((disks, done: Done<DiskHandle[]>) => disks.prepare(vm, [{ image, bytes: 0 }], done))
    t.like(await refused(host.opened.partial), { ok: false, failure: { code: 'CHUNK_MISSING' } })
    t.like(await refused('0'.repeat(64)), { ok: false, failure: { code: 'NOT_FOUND' } })
    t.false(host.opened.disks.has(vm))
    t.is((await host.prepare()).length, 1)
  })

  test(`${name} sets disks aside, out of the way of new ones, and removes them`, async (t) => {
    const host = await opened(t)
    const { image, disks } = host.opened
    for (let copy = 0; copy < 2; copy++) {
      const [handle] = await host.prepare()
      t.is((await host.capture())[0]?.image, image, 'a new disk')
      await host.opened.write(vm, handle as DiskHandle, 3)
      await host.value<void>((its, done) =>
        its.setAside(vm, 'before/1.2', { atMs: copy, content: [image] }, done),
      )
      t.false(disks.has(vm))
    }
    await host.prepare()
    await host.value<void>((its, done) => its.remove(vm, done))
    t.false(disks.has(vm))
    const kept = disks.kept()
    t.deepEqual(
      kept.map(({ vm, atMs, bases, content }) => ({ vm, atMs, bases, content })),
      [0, 1].map((atMs) => ({ vm, atMs, bases: [image], content: [image] })),
    )
    t.is(new Set(kept.map((copy) => copy.name)).size, 2)
    await host.value<void>((its, done) => its.remove(vm, done))
    const next = new Host(await host.opened.reopen())
    t.false(next.opened.disks.has(vm))
    t.deepEqual(next.opened.disks.kept(), kept, 'in the next life too')
    for (const copy of kept) {
      t.true((await next.value<number>((its, done) => its.weigh(copy.name, done))) > 0)
      await next.value<void>((its, done) => its.drop(copy.name, done))
      await next.value<void>((its, done) => its.drop(copy.name, done))
    }
    t.deepEqual(next.opened.disks.kept(), [])
    t.like(await next.outcome((its, done: Done<CapturedDisk[]>) => its.capture(vm, done)), { ok: false })
  })
}
