/**
 * What this host may run, on disk: grants, and promises never to run again. One write at a time for each VM.
 *
 * Invariants: a grant counts once it is synced, a promise from before that on: what is in force may be stricter than what
 * the disk says, never laxer. A grant never goes without a promise in its place.
 */
import { compareEpochs, printEpoch } from '../../protocols/epoch.ts'
import type { VmId } from '../../protocols/ids.ts'
import type { Done, Outcome } from '../../protocols/outcome.ts'
import { key } from '../../storage/keyspace.ts'
import { grant as grantRecord, type Grant, holderPromise, type HolderPromise } from '../../storage/records.ts'
import type { Op, Store } from '../../storage/store.ts'
import { FORGIVEN, type Local } from './local.ts'

/** What the store had when it was opened. */
export function recover(store: Store, local: (vm: VmId) => Local): void {
  for (const [, value] of store.recovered(key('grant'))) {
    const grant = grantRecord.decode(value)
    local(grant.vm).grant = grant
  }
  for (const [, value] of store.recovered(key('promise'))) {
    const promise = holderPromise.decode(value)
    local(promise.vm).promise = promise
  }
}

type Ports = {
  readonly store: Store
  note(vm: VmId, kind: string, text: string): void
  /** A grant was written, or could not be; or a promise was taken back. */
  written(local: Local, outcome: Outcome<void>): void
}

export class Grants {
  readonly #ports: Ports
  readonly #writing = new Set<VmId>()
  #stopped = false

  constructor(ports: Ports) {
    this.#ports = ports
  }

  /** Of what is still being written nothing is heard any more. */
  stop(): void {
    this.#stopped = true
  }

  /** No grant is being written. */
  get settled(): boolean {
    return this.#writing.size === 0
  }

  isWriting(vm: VmId): boolean {
    return this.#writing.has(vm)
  }

  /** Asked for while another is being written, it is dropped: whoever wants it finds out by the next look. */
  save(local: Local, grant: Grant): void {
    const ops: Op[] = [{ kind: 'put', key: key('grant', local.vm), value: grantRecord.encode(grant) }]
    this.#alone(local, ops, (outcome) => {
      if (outcome.ok) this.#hold(local, grant)
      this.#ports.written(local, outcome)
    })
  }

  #hold(local: Local, grant: Grant): void {
    if (local.grant === undefined || compareEpochs(local.grant.epoch, grant.epoch) !== 0) {
      this.#ports.note(grant.vm, 'granted', `may run ${grant.name} under ${printEpoch(grant.epoch)}`)
      // Whatever went wrong or was switched off under an older grant is history.
      Object.assign(local, { ...FORGIVEN, images: false, poweredOff: false })
    }
    local.grant = grant
  }

  /** "Never again under this epoch", synced. */
  promise(local: Local, promise: HolderPromise, done: Done<void>): void {
    local.promise = promise
    this.#write([{ kind: 'put', key: key('promise', local.vm), value: holderPromise.encode(promise) }], done)
  }

  /** The move that a promise was made for is cancelled: it binds no longer. */
  takeBack(local: Local): void {
    const { promise } = local
    this.#alone(local, [{ kind: 'del', key: key('promise', local.vm) }], (outcome) => {
      if (!outcome.ok) return
      if (local.promise === promise) local.promise = undefined
      this.#ports.written(local, outcome)
    })
  }

  /**
   * The VM is history here: its grant goes, and a promise for good takes its place. A log that is replayed after a
   * restart passes through the state in which the VM was placed here; without the promise it would be started again.
   */
  drop(local: Local, done: Done<void>): void {
    const { vm, grant } = local
    const ops: Op[] = [{ kind: 'del', key: key('grant', vm) }]
    const promise: HolderPromise | undefined = grant && { vm, epoch: grant.epoch, disks: [] }
    if (promise !== undefined)
      ops.push({ kind: 'put', key: key('promise', vm), value: holderPromise.encode(promise) })
    this.#write(ops, (outcome) => {
      if (outcome.ok)
        Object.assign(local, { grant: undefined, promise: promise ?? local.promise, images: false })
      done(outcome)
    })
  }

  #alone({ vm }: Local, ops: readonly Op[], done: Done<void>): void {
    if (this.#writing.has(vm)) return
    this.#writing.add(vm)
    this.#write(ops, (outcome) => {
      this.#writing.delete(vm)
      done(outcome)
    })
  }

  #write(ops: readonly Op[], done: Done<void>): void {
    this.#ports.store.write(ops, true, (outcome: Outcome<void>) => {
      if (!this.#stopped) done(outcome)
    })
  }
}
