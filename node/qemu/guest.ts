/**
 * One guest that runs: its processes, the QMP connection to it while there is one, and how it is brought to its end.
 * `ended` settles once its process is gone for certain; until then nobody may take it for stopped.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { GodwitError } from '../../protocols/errors.ts'
import type { Machine, MachineState } from '../hypervisor.ts'
import { readExit, type MachineFolder, type MachineRecord, type Processes } from './machine-folder.ts'
import { isAlive, type ProcessId } from './process.ts'
import { connectQmp, type Qmp } from './qmp.ts'

/** How often a guest is looked at that nobody has heard of: its end usually shows at once, as its QMP socket closes. */
const LOOK_MS = 1_000
/** Between looks at a process that is ending. */
const POLL_MS = 5
/** A keeper writes the exit status right after the guest's end; one that was killed never does. */
const EXIT_MS = 2_000
/** A killed process that still writes out its memory or waits for a disk. */
const KILL_MS = 30_000
/** A power button that is pressed before the guest's ACPI is up is lost, so it is pressed again, soon and then seldom. */
const PRESS_MS = { min: 250, max: 2_000 }
/** An answer to "how are you" that decides nothing. */
const STATUS_MS = 2_000

type Known = {
  readonly folder: MachineFolder
  readonly record: MachineRecord
  readonly processes: Processes
}

export class Guest {
  readonly folder: MachineFolder
  readonly record: MachineRecord
  readonly processes: Processes
  /** Settles once the guest's process is gone and its keeper has noted how; never after `close`. */
  readonly ended: Promise<void>
  #qmp: Qmp | undefined
  #closed = false
  #wake: () => void = () => {}

  constructor({ folder, record, processes }: Known) {
    this.folder = folder
    this.record = record
    this.processes = processes
    this.ended = this.#watch()
  }

  /** Whether QEMU answers within `timeoutMs`. */
  async ready(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs
    while (this.#qmp === undefined) {
      if (performance.now() > deadline || !(await isAlive(this.processes.guest))) return false
      await sleep(POLL_MS)
    }
    return true
  }

  async describe(): Promise<Machine> {
    const { vm, epoch } = this.record
    return { vm, epoch, state: await this.#state(), pid: this.processes.guest.pid }
  }

  /** A guest that does not say is taken to run: that is the stricter reading. */
  async #state(): Promise<MachineState> {
    try {
      const answer = await this.#qmp?.execute('query-status', {}, STATUS_MS)
      const { status } = (answer ?? {}) as { status?: string }
      return status === undefined || status === 'running' ? 'running' : 'paused'
    } catch {
      return 'running'
    }
  }

  /** Presses the power button until the guest is off. TIMEOUT when it is not after `graceMs`. */
  async powerOff(graceMs: number): Promise<void> {
    const deadline = performance.now() + graceMs
    let pressAt = -Infinity
    let waitMs = PRESS_MS.min
    while (await isAlive(this.processes.guest)) {
      const now = performance.now()
      if (now >= deadline)
        throw new GodwitError({
          code: 'TIMEOUT',
          what: `the power-off of ${this.record.name}`,
          afterMs: graceMs,
        })
      if (now >= pressAt) {
        pressAt = now + waitMs
        waitMs = Math.min(waitMs * 2, PRESS_MS.max)
        // It may end under the button: the loop's condition says so.
        await this.#qmp?.execute('system_powerdown').catch(() => {})
      }
      await sleep(POLL_MS)
    }
  }

  /** Ends the guest; resolves once its process is gone. */
  async kill(): Promise<void> {
    await killProcess(this.processes.guest)
    const deadline = performance.now() + KILL_MS
    while (await isAlive(this.processes.guest)) {
      if (performance.now() > deadline)
        throw new GodwitError({ code: 'TIMEOUT', what: `the end of ${this.record.name}`, afterMs: KILL_MS })
      await sleep(POLL_MS)
    }
  }

  /** Lets go of the guest, which goes on. */
  close(): void {
    this.#closed = true
    this.#qmp?.close()
    this.#wake()
  }

  async #watch(): Promise<void> {
    while (!this.#closed && (await isAlive(this.processes.guest))) {
      if (this.#qmp === undefined) await this.#connect()
      await this.#pause(this.#qmp === undefined ? POLL_MS : LOOK_MS)
    }
    if (this.#closed) return new Promise(() => {})
    const deadline = performance.now() + EXIT_MS
    while (
      performance.now() < deadline &&
      (await isAlive(this.processes.keeper)) &&
      (await readExit(this.folder)) === undefined
    )
      await sleep(POLL_MS)
  }

  /** Ends early when the guest is let go, or QEMU hangs up. Does not keep this process alive. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** QEMU may not listen yet, or no more. */
  async #connect(): Promise<void> {
    const { qmp: path, name } = this.record
    const qmp = await connectQmp(path, name, LOOK_MS).catch(() => undefined)
    if (qmp === undefined) return
    if (this.#closed) return qmp.close()
    this.#qmp = qmp
    void qmp.closed.then(() => {
      this.#qmp = undefined
      this.#wake()
    })
  }
}

/** SIGKILL to that very process, not to whoever has its number now. */
async function killProcess(id: ProcessId): Promise<void> {
  if (!(await isAlive(id))) return
  try {
    process.kill(id.pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
