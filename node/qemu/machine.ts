/**
 * The hypervisor port on QEMU. Each guest has a keeper of its own (keeper.sh), so that this process may end, crash and
 * come back: `inspect` finds what runs, and says what ended meanwhile. Never two starts of one VM: the lock in its
 * folder is held as long as its keeper or its guest lives.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { compareEpochs, printEpoch } from '../../protocols/epoch.ts'
import { GodwitError } from '../../protocols/errors.ts'
import type { VmId } from '../../protocols/ids.ts'
import {
  type Hypervisor,
  type Machine,
  type MachineConfig,
  type MachineEvent,
  type MachineUsage,
  PROBING,
} from '../hypervisor.ts'
import { answer } from './answer.ts'
import { commandLine, type Accelerator, uuidOf } from './command-line.ts'
import { dropGroup, makeGroup } from './control-group.ts'
import { Guest } from './guest.ts'
import { failure, startKeeper } from './keeper.ts'
import {
  closeRecord,
  isVmId,
  machineFolder,
  newestEpoch,
  readExit,
  readProcesses,
  readRecord,
  readTail,
  revokePermit,
  writeRecord,
  type MachineFolder,
  type MachineRecord,
} from './machine-folder.ts'
import { machineFiles } from './machine-files.ts'
import { isAlive, processOf, usageOf } from './process.ts'
import { probe, type Probed } from './probe.ts'
import { missing } from './tools.ts'

const PROGRAM = 'qemu-system-x86_64'
/** QEMU opens its socket before it loads its devices. */
const READY_MS = 15_000
/** A guest that runs answers at once; one that is stopped must not hold up the others. */
const ADOPT_MS = 3_000
/** A guest that has ended leaves its lock within milliseconds, when its keeper has noted how it ended. */
const LOCK_SECONDS = 5
const POLL_MS = 5
/** What the port promises of a log. */
const LOG_BYTES_MAX = 64 * 1024
export type HypervisorOptions = {
  /** Machine folders lie here; made when absent. */
  readonly folder: string
  /** 'auto' asks a probe; the others are an operator's word, and are not tried. 'none': nothing is started here. */
  readonly driver?: 'auto' | Accelerator | 'none'
  /** Told, for the journal, what does not work here and why. */
  readonly note?: (text: string) => void
}

export type QemuHypervisor = Hypervisor & {
  /** Ends this process's part; guests go on under their keepers. */
  close(): Promise<void>
}

export async function openHypervisor(options: HypervisorOptions): Promise<QemuHypervisor> {
  const { folder, driver = 'auto', note = () => {} } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const closing = new AbortController()
  let known: Probed['driver'] | typeof PROBING = driver === 'auto' ? PROBING : driver
  // Only a start waits for it: a probe takes longer than everything else that a peer does before it is ready.
  const probed =
    driver === 'auto'
      ? probe(join(folder, 'probe.json'), { note, signal: closing.signal }).then(
          ({ driver }) => (known = driver),
        )
      : Promise.resolve(driver)
  const machines = new Machines(folder, probed, note)
  return {
    get driver() {
      return known
    },
    inspect: (done) => answer(machines.inspect(), done),
    start: (machine, done) => answer(machines.start(machine), done),
    powerOff: (vm, graceMs, done) => answer(machines.powerOff(vm, graceMs), done),
    kill: (vm, done) => answer(machines.kill(vm), done),
    onEvent: (handler) => void machines.handlers.push(handler),
    serialLog: (vm, lines, done) => answer(machines.serialLog(vm, lines), done),
    usage: (done) => answer(machines.usage(), done),
    forget: (vm, done) => answer(machines.forget(vm), done),
    close: async () => {
      closing.abort()
      await Promise.all([probed, machines.close()])
    },
  }
}

class Machines {
  readonly handlers: ((event: MachineEvent) => void)[] = []
  readonly #root: string
  readonly #driver: Promise<Probed['driver']>
  readonly #note: (text: string) => void
  readonly #guests = new Map<VmId, Guest>()
  /** VMs with a start, an adoption or a forgetting in hand. */
  readonly #busy = new Map<VmId, string>()
  #toldOfGroups = false
  #closed = false

  constructor(root: string, driver: Promise<Probed['driver']>, note: (text: string) => void) {
    this.#root = root
    this.#driver = driver
    this.#note = note
  }

  async inspect(): Promise<Machine[]> {
    const names = (await readdir(this.#root)).filter(isVmId).sort()
    for (const vm of names) {
      if (this.#guests.has(vm) || this.#busy.has(vm)) continue
      // One that cannot be told is not started either, for its lock; the others go on.
      await this.#hold(vm, 'adoption', () => this.#adopt(vm)).catch((error: unknown) =>
        this.#note(`${vm} cannot be adopted: ${(error as Error).message}`),
      )
    }
    const guests = [...this.#guests.values()].sort((a, b) => (a.record.vm < b.record.vm ? -1 : 1))
    return Promise.all(guests.map((guest) => guest.describe()))
  }

  /** Takes over a guest that an earlier life started, or says how it ended. */
  async #adopt(vm: VmId): Promise<void> {
    const folder = machineFolder(this.#root, vm)
    const record = await readRecord(folder)
    if (record === undefined) return
    let processes = await readProcesses(folder)
    // A keeper that has begun but named no processes yet will do so, or end.
    const deadline = performance.now() + READY_MS
    while (processes === undefined && !(await revokePermit(folder, 0))) {
      if (performance.now() > deadline)
        throw new GodwitError({ code: 'TIMEOUT', what: `the start of ${record.name}`, afterMs: READY_MS })
      processes = await readProcesses(folder)
    }
    if (processes === undefined) return this.#ended(folder, record)
    const guest = new Guest({ folder, record, processes })
    if (!(await guest.ready(ADOPT_MS)) && !(await isAlive(processes.guest))) {
      await guest.ended
      return this.#ended(folder, record)
    }
    this.#watch(guest)
  }

  async start(machine: MachineConfig): Promise<Machine> {
    const { vm, name, epoch } = machine
    const folder = machineFolder(this.#root, vm)
    if (this.#guests.has(vm)) throw running(name, 'started')
    return this.#hold(vm, 'start', async () => {
      const driver = await this.#driver
      if (driver === 'none') throw missing(PROGRAM)
      await mkdir(folder.path, { recursive: true, mode: 0o700 })
      // Free: whatever ran here is gone, to its keeper, and what an earlier life began will not start.
      if (!(await revokePermit(folder, LOCK_SECONDS))) throw running(name, 'started')
      // A data folder that was put back or copied may know nothing of a guest that its peer started: the lock is another.
      const stray = await processOf(PROGRAM, ['-uuid', uuidOf(vm)])
      if (stray !== undefined) {
        const why = `process ${stray} of this host is a guest of it that this data folder does not know: it has to end first`
        throw new GodwitError({ code: 'HYPERVISOR', vm: name, why })
      }
      const newest = await newestEpoch(folder)
      if (newest !== undefined && compareEpochs(newest, epoch) > 0)
        throw new GodwitError({
          code: 'STALE',
          what: `the epoch of ${name}`,
          expected: printEpoch(newest),
          found: printEpoch(epoch),
        })
      const paths = await machineFiles(folder, machine)
      const token = randomUUID()
      // Of this start alone: an earlier one's keeper may still be removing its own.
      const group = await makeGroup(`godwit-${vm}-${token.slice(0, 8)}`)
      const cgroup = 'folder' in group ? group.folder : ''
      if ('why' in group && !this.#toldOfGroups) this.#note(`guests have no control group: ${group.why}`)
      this.#toldOfGroups = true
      const startedAt = new Date().toISOString()
      const record = { version: 1 as const, vm, name, epoch, qmp: folder.qmp, cgroup, startedAt }
      await writeRecord(folder, record, token)
      try {
        return await this.#run(folder, record, { token, args: commandLine(machine, paths, driver) })
      } catch (error) {
        // Whatever went wrong, it either runs and is known, or is gone and was never started.
        if (await revokePermit(folder, LOCK_SECONDS)) await closeRecord(folder)
        void dropGroup(cgroup)
        throw error
      }
    })
  }

  async #run(
    folder: MachineFolder,
    record: MachineRecord,
    { token, args }: { token: string; args: string[] },
  ): Promise<Machine> {
    const { name, cgroup } = record
    const { processes, ended } = await startKeeper({ folder, name, token, cgroup, program: PROGRAM, args })
    const guest = new Guest({ folder, record, processes })
    const ready = await Promise.race([guest.ready(READY_MS), ended.then(() => false)])
    if (!ready) {
      guest.close()
      await guest.kill()
      throw await failure(folder, name, 'QEMU did not start')
    }
    this.#watch(guest)
    return guest.describe()
  }

  async powerOff(vm: VmId, graceMs: number): Promise<void> {
    const guest = await this.#settled(vm)
    if (guest === undefined) return
    await guest.powerOff(graceMs)
    await this.#gone(vm)
  }

  async kill(vm: VmId): Promise<void> {
    const guest = await this.#settled(vm)
    if (guest === undefined) return
    await guest.kill()
    await this.#gone(vm)
  }

  /** The guest, once no start of it is in hand: each has a deadline. */
  async #settled(vm: VmId): Promise<Guest | undefined> {
    while (this.#busy.has(vm)) await sleep(POLL_MS)
    return this.#guests.get(vm)
  }

  /** Once `exited` has been told. */
  async #gone(vm: VmId): Promise<void> {
    while (this.#guests.has(vm) && !this.#closed) await sleep(1)
  }

  async serialLog(vm: VmId, lines: number): Promise<string[]> {
    const text = await readTail(machineFolder(this.#root, vm).serialLog, LOG_BYTES_MAX)
    const all = text.split(/\r?\n/)
    // A file that begins before what was read: its first line is only a part of one.
    if (Buffer.byteLength(text, 'latin1') === LOG_BYTES_MAX) all.shift()
    if (all.at(-1) === '') all.pop()
    return all.slice(-lines)
  }

  async usage(): Promise<MachineUsage[]> {
    const used = await Promise.all(
      [...this.#guests].map(async ([vm, { processes }]) => {
        const usage = await usageOf(processes.guest)
        return usage === undefined ? [] : [{ vm, ...usage }]
      }),
    )
    return used.flat()
  }

  async forget(vm: VmId): Promise<void> {
    const guest = this.#guests.get(vm)
    if (guest !== undefined) throw running(guest.record.name, 'forgotten')
    await this.#hold(vm, 'forgetting', async () => {
      const folder = machineFolder(this.#root, vm)
      const record = await readRecord(folder)
      if (record !== undefined && !(await revokePermit(folder, LOCK_SECONDS)))
        throw running(record.name, 'forgotten')
      await rm(folder.qmp, { force: true })
      await rm(folder.path, { recursive: true, force: true })
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const guest of this.#guests.values()) guest.close()
    while (this.#busy.size > 0) await sleep(POLL_MS)
    for (const guest of this.#guests.values()) guest.close()
  }

  #watch(guest: Guest): void {
    const { folder, record } = guest
    this.#guests.set(record.vm, guest)
    void guest.ended.then(async () => {
      if (this.#closed) return
      await this.#ended(folder, record).catch((error: unknown) =>
        this.#note(`${record.name}: ${(error as Error).message}`),
      )
      this.#guests.delete(record.vm)
    })
  }

  /** The guest's process is gone for certain. */
  async #ended(folder: MachineFolder, record: MachineRecord): Promise<void> {
    const code = await readExit(folder)
    await closeRecord(folder)
    void dropGroup(record.cgroup)
    const { vm, epoch } = record
    for (const handler of this.handlers) handler({ kind: 'exited', vm, epoch, why: whyOf(code) })
  }

  /** One thing at a time for each VM. */
  async #hold<T>(vm: VmId, what: string, work: () => Promise<T>): Promise<T> {
    const by = this.#busy.get(vm)
    if (by !== undefined) throw new GodwitError({ code: 'BUSY', vm, by: `its ${by}` })
    this.#busy.set(vm, what)
    try {
      return await work()
    } finally {
      this.#busy.delete(vm)
    }
  }
}

const running = (vm: string, wanted: string): GodwitError =>
  new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted })

/** sh's status of QEMU: 0 after a power-off, 128 + 9 when killed; none when the keeper died, which kills the guest. */
const whyOf = (code: number | undefined): 'shutdown' | 'killed' | 'crashed' => {
  if (code === 0) return 'shutdown'
  return code === undefined || code === 128 + 9 ? 'killed' : 'crashed'
}
