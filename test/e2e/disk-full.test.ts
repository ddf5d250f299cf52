/** A data folder on a file system without room: what needs room fails with its reason, and nothing else is touched. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { ImageView, StatusView, VmView } from '../../node/views.ts'
import { counted, createGuest, guestsOn, importGuest, newest, vmNamed } from './guests.ts'
import { Mesh, must, type Peer, until } from './support.ts'

const MIB = 1024 ** 2
const DISK_MIB = 96
/** Tokens that a page of 4 KiB may take. */
const PAGE_TOKENS = 16
const mesh = new Mesh()
const disk = join(mesh.folder, 'disk')
/** Root may, except in a container that was not given the right to. */
const mounted = mount()
const filler = join(disk, 'filler')
let crane: Peer
let vm: VmView

/** Leaves that much room, to the page. */
function fill(leaveBytes: number): void {
  rmSync(filler, { force: true })
  const { bavail, bsize } = statfsSync(disk)
  try {
    writeFileSync(filler, Buffer.alloc(bavail * bsize - leaveBytes))
  } catch (error) {
    // The peer has taken a page since: that much less is left.
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}

function mount(): boolean {
  mkdirSync(disk)
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB}m`, 'godwit-e2e', disk]).status === 0
}

function unmounted(): boolean {
  return spawnSync('umount', [disk]).status === 0
}

const when = mounted ? test.serial : test.serial.skip
if (!mounted) {
  process.stderr.write('SKIPPED: a full disk needs a file system of its own, and so the right to mount one\n')
  // Hooks of a file that skips all its tests do not run.
  rmSync(mesh.folder, { recursive: true })
}

const large = join(mesh.folder, 'large.raw')

test.before(async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg', folder: join(disk, 'crane') })
  await mesh.form(crane)
  await importGuest(mesh, crane, 'guest')
  vm = await createGuest(mesh, crane, 'counter', 'guest')
})
test.after.always(async () => {
  // What ran there may need a moment to be gone.
  await mesh.close(() => until('the disk to be free', unmounted))
})

when('an import for which there is no room is refused with what it needs and what there is', async (t) => {
  writeFileSync(large, randomBytes(16 * MIB))
  fill(6 * MIB)
  const ran = await mesh.godwit(crane, ['image', 'import', 'large', large, '-o', 'json'])
  t.is(ran.code, 4, ran.err)
  t.is(ran.error?.code, 'QUOTA', ran.err)
  t.regex(ran.error?.message ?? '', /^import of large takes about 8 MiB of .* are free: the disk is short/)
})

when('an import that turns out not to fit fails with its reason; the peer and its VM live on', async (t) => {
  const path = large
  // Half of what it takes: content that does not compress takes twice what is reckoned.
  fill(11 * MIB)
  const [pid] = await guestsOn(crane)
  const ran = await mesh.godwit(crane, ['image', 'import', 'large', path, '-o', 'json'])
  t.is(ran.code, 1, ran.err)
  t.is(ran.error?.code, 'DISK_FULL', ran.err)
  t.regex(ran.error?.message ?? '', /no room left on the disk of /)
  t.true((await mesh.ask<StatusView>(crane, 'status')).ready)
  t.deepEqual(await guestsOn(crane), [pid])
  await counted(crane, vm.id, newest(crane, vm.id) + 3)
  t.is((await mesh.ask<ImageView[]>(crane, 'image.list')).length, 1)

  rmSync(filler)
  must(await mesh.godwit(crane, ['image', 'import', 'large', path]))
  must(await mesh.godwit(crane, ['image', 'verify', 'large']))
})

when(
  'with no room at all commands are refused with the reason, and work again once there is room',
  async (t) => {
    fill(0)
    const [pid] = await guestsOn(crane)
    // The last page of the store's log has room for a few.
    let refused = await mesh.godwit(crane, ['token', 'create', '-o', 'json'])
    for (let turn = 0; turn < PAGE_TOKENS && refused.code === 0; turn++)
      refused = await mesh.godwit(crane, ['token', 'create', '-o', 'json'])
    t.log(refused.err)
    t.is(refused.error?.code, 'DISK_FULL', refused.err)
    t.true((await mesh.ask<StatusView>(crane, 'status')).ready)
    t.deepEqual(await guestsOn(crane), [pid])
    t.is((await vmNamed(mesh, crane, 'counter'))?.state, 'running')
    rmSync(filler)
    await until('tokens to be made again', async () => (await mesh.try(crane, 'token.create')).ok)
    await counted(crane, vm.id, newest(crane, vm.id) + 3)
  },
)
