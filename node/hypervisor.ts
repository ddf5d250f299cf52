/**
 * Port: what a peer asks of a hypervisor. Every implementation passes test/contracts/hypervisor.ts.
 * It knows nothing of grants: who may run what is settled before `start` is called.
 */
import type { VmId } from '../protocols/ids.ts'
import type { Epoch } from '../protocols/epoch.ts'
import type { Done } from '../protocols/outcome.ts'
import type { VmSpec } from './vm/spec.ts'

export type MachineState = 'running' | 'paused' | 'stopped'

/** One guest that the hypervisor knows of. */
export type Machine = {
  readonly vm: VmId
  readonly epoch: Epoch
  readonly state: MachineState
  /** Its process on this host, for people and cgroups. */
  readonly pid?: number
}

export type MachineConfig = {
  readonly vm: VmId
  readonly name: string
  readonly epoch: Epoch
  readonly spec: VmSpec
  /** In the order of `spec.disks`: what `Disks.prepare` returned. */
  readonly disks: readonly DiskHandle[]
}

/** Where a prepared disk lies; opaque to all but the hypervisor and the disks of the same driver. */
export type DiskHandle = { readonly path: string; readonly format: 'raw' | 'qcow2' }

export type MachineEvent =
  /** The guest is gone: powered off by itself or by us, killed, or crashed. */
  | {
      readonly kind: 'exited'
      readonly vm: VmId
      readonly epoch: Epoch
      readonly why: 'shutdown' | 'killed' | 'crashed'
    }

/** Not known yet which driver runs guests. */
export const PROBING = 'probing'

export type Hypervisor = {
  /**
   * Which driver runs guests here: 'kvm' or 'tcg' by a probe that ran one, 'sim' in the simulator, 'none'; PROBING until
   * it is known, which a start waits for.
   */
  readonly driver: string
  /** Guests that are running or paused, also those that an earlier life of this peer started (adoption). */
  inspect(done: Done<Machine[]>): void
  /** Starts a guest under its keeper; it survives this process. Refused when one of that VM is known already. */
  start(machine: MachineConfig, done: Done<Machine>): void
  /** Asks the guest to power off; ends with `exited` when it did, TIMEOUT after `graceMs` when it did not. */
  powerOff(vm: VmId, graceMs: number, done: Done<void>): void
  /** Ends the guest now; done when its process is gone for certain. Done at once when there is none. */
  kill(vm: VmId, done: Done<void>): void
  onEvent(handler: (event: MachineEvent) => void): void
  /** The newest `lines` lines of the guest's serial port (at most 64 KiB of text); empty when there were none. */
  serialLog(vm: VmId, lines: number, done: Done<string[]>): void
  /** CPU seconds, memory and disk bytes of each running guest, for telemetry. */
  usage(done: Done<MachineUsage[]>): void
  /** Drops what is left of a guest that is gone: logs, sockets. */
  forget(vm: VmId, done: Done<void>): void
}

export type MachineUsage = {
  readonly vm: VmId
  readonly cpuSeconds: number
  readonly memoryBytes: number
  readonly diskReadBytes: number
  readonly diskWrittenBytes: number
}

/**
 * Port: the disks of this host's VMs. A disk is an overlay on a base that is materialised once from an image.
 * Every implementation passes test/contracts/disks.ts.
 */
export type Disks = {
  /**
   * Makes the disks of a VM ready to run, in the order given, each from an image whose chunks are all held
   * (CHUNK_MISSING otherwise), grown to `bytes`. What is there already stays as it is (a restart keeps its data).
   */
  prepare(vm: VmId, disks: readonly DiskSource[], done: Done<DiskHandle[]>): void
  /** Whether this host has prepared disks for the VM. */
  has(vm: VmId): boolean
  /**
   * The present content of a stopped VM's disks as images: new chunks and manifests are stored and synced. Costs what
   * was written since the base, not the disk's size.
   */
  capture(vm: VmId, done: Done<CapturedDisk[]>): void
  /** Sets a stopped VM's disks aside as a kept copy under `label`: never in the way of a later `prepare`. */
  setAside(vm: VmId, label: string, terms: KeepingTerms, done: Done<void>): void
  /** What was set aside and is still here, the oldest first. */
  kept(): KeptCopy[]
  /** What comes back when a kept copy is dropped: its overlays, and bases that nothing else lies on. */
  weigh(kept: string, done: Done<number>): void
  /** Drops a kept copy, and bases that nothing else lies on; done at once when it is gone. */
  drop(kept: string, done: Done<void>): void
  /** Drops a VM's disks. */
  remove(vm: VmId, done: Done<void>): void
}

/** When it was set aside (wall clock), and the images that its disks are the same as; empty when nobody knows of any. */
export type KeepingTerms = { readonly atMs: number; readonly content: readonly string[] }

export type KeptCopy = KeepingTerms & {
  /** Unique on this host. */
  readonly name: string
  readonly vm: VmId
  /** Images that its overlays lie on. */
  readonly bases: readonly string[]
}

export type DiskSource = { readonly image: string; readonly bytes: number }
export type CapturedDisk = { readonly image: string; readonly bytes: number; readonly newBytes: number }
