/**
 * What one VM's machine leaves on this host, `<folder>/<vm>/`:
 *
 *   machine.json   what was started under which epoch; fsynced before the keeper is, gone (last.json) once it has ended
 *   permit, process, exit, lock, keeper.log, serial.log      between peer and keeper: see keeper.sh
 *   cidata.iso, uefi-variables.fd                            what the guest's QEMU opens beside its disks
 *   qmp.sock       QEMU's socket, or in a shorter folder where the path would be too long
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { Epoch } from '../../protocols/epoch.ts'
import { vmId, type VmId } from '../../protocols/ids.ts'
import { syncFolder, writeWhole } from '../../storage/files/durable.ts'
import type { ProcessId } from './process.ts'
import { run } from './tools.ts'

const recordSchema = z.object({
  version: z.literal(1),
  vm: z.string(),
  name: z.string(),
  epoch: z.tuple([z.int(), z.int(), z.int(), z.int()]).readonly(),
  qmp: z.string(),
  /** Its control group's folder; empty when it has none. */
  cgroup: z.string(),
  startedAt: z.string(),
})

/** The record of a machine that was started here. */
export type MachineRecord = z.infer<typeof recordSchema>

/** sun_path of Linux, with its closing zero. */
const SOCKET_PATH_BYTES_MAX = 107
/** Reading /proc and a few files; a busy host may need a while to start a process. */
const LOCK_MS = 10_000
/** Exit status of flock when another holds the lock: keeper.sh's for the same. */
const HELD = 75

export type MachineFolder = {
  readonly path: string
  readonly serialLog: string
  readonly keeperLog: string
  readonly qmp: string
  file(name: string): string
}

export function machineFolder(root: string, vm: VmId): MachineFolder {
  const path = join(root, vm)
  return {
    path,
    serialLog: join(path, 'serial.log'),
    keeperLog: join(path, 'keeper.log'),
    qmp: socketPath(path),
    file: (name) => join(path, name),
  }
}

function socketPath(folder: string): string {
  const path = join(folder, 'qmp.sock')
  if (Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX) return path
  const short = createHash('sha256').update(folder).digest('hex').slice(0, 20)
  return join(tmpdir(), `godwit-${process.getuid?.() ?? 0}`, `${short}.qmp`)
}

/** The record of a machine that was started and has not been seen to end; undefined when there is none. */
export const readRecord = (folder: MachineFolder): Promise<MachineRecord | undefined> =>
  readJson(folder.file('machine.json'))

/** The epoch of the newest start here, ended or not. */
export async function newestEpoch(folder: MachineFolder): Promise<Epoch | undefined> {
  return ((await readRecord(folder)) ?? (await readJson(folder.file('last.json'))))?.epoch
}

/** Writes what is about to be started, durably, and the permit that its keeper needs. */
export async function writeRecord(
  folder: MachineFolder,
  record: MachineRecord,
  token: string,
): Promise<void> {
  for (const stale of ['process', 'exit']) await rm(folder.file(stale), { force: true })
  await rm(record.qmp, { force: true })
  await mkdir(join(record.qmp, '..'), { recursive: true, mode: 0o700 })
  await writeFile(folder.file('permit'), `${token}\n`)
  const text = `${JSON.stringify(record, undefined, 2)}\n`
  await writeWhole(folder.file('machine.json'), async (file) => file.writeFile(text))
  await syncFolder(join(folder.path, '..'))
}

/** Notes that the machine has ended. */
export async function closeRecord(folder: MachineFolder): Promise<void> {
  await rename(folder.file('machine.json'), folder.file('last.json')).catch(() => {})
  await unlink(folder.qmp).catch(() => {})
}

export type Processes = { readonly keeper: ProcessId; readonly guest: ProcessId }

/** The processes that the keeper has named; undefined when there are none, or they are of an earlier boot. */
export async function readProcesses(folder: MachineFolder): Promise<Processes | undefined> {
  const [text, boot] = await Promise.all([
    readText(folder.file('process')),
    readText('/proc/sys/kernel/random/boot_id'),
  ])
  const fields = text?.trim().split(' ') ?? []
  const [keeper, keeperStart, guest, guestStart] = fields.map(Number)
  if (fields.length !== 5 || fields[4] !== boot?.trim() || !(Number(keeper) > 1) || !(Number(guest) > 1))
    return undefined
  return {
    keeper: { pid: Number(keeper), startTime: Number(keeperStart) },
    guest: { pid: Number(guest), startTime: Number(guestStart) },
  }
}

/** The guest's exit status as the keeper wrote it; undefined when it could not. */
export async function readExit(folder: MachineFolder): Promise<number | undefined> {
  const text = (await readText(folder.file('exit')))?.trim() ?? ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/**
 * Takes back the permit of a start that an earlier life of this peer began. True: no guest of it runs or will ever
 * start. False: its keeper or guest still holds the lock after `waitSeconds`.
 */
export async function revokePermit(folder: MachineFolder, waitSeconds: number): Promise<boolean> {
  const lock = ['-w', String(waitSeconds), '-E', String(HELD), folder.file('lock')]
  const { code } = await run('flock', [...lock, 'rm', '-f', folder.file('permit')], LOCK_MS)
  return code === 0
}

/** The newest `bytes` of a log, the part that was cut off included; empty when there is none. */
export async function readTail(path: string, bytes: number): Promise<string> {
  const tail = await tailOf(path, bytes)
  const older = tail.length < bytes ? await tailOf(`${path}.1`, bytes - tail.length) : Buffer.alloc(0)
  return Buffer.concat([older, tail]).toString('latin1')
}

async function tailOf(path: string, bytes: number): Promise<Buffer> {
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return Buffer.alloc(0)
  try {
    const { size } = await file.stat()
    const tail = Buffer.alloc(Math.min(bytes, size))
    const { bytesRead } = await file.read(tail, 0, tail.length, size - tail.length)
    return tail.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** A file that is not what it should be counts as none: the lock and the processes say what runs. */
async function readJson(path: string): Promise<MachineRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}

const readText = (path: string): Promise<string | undefined> => readFile(path, 'utf8').catch(() => undefined)

/** Whether a name in the root folder is a VM's. */
export function isVmId(name: string): boolean {
  try {
    return vmId(name, 'name') === name
  } catch {
    return false
  }
}
