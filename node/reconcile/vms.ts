/**
 * The VMs of this host: looks at each of them whenever something changed, asks plan.ts what it needs next, and has it done, one
 * operation at a time for each VM. What is wanted comes from the site's catalog while there is one, and from the grant
 * alone when there is not: a host that boots cut off runs what it holds (DESIGN section 3).
 *
 *     wanted.ts    what is wanted: from agreed records to a grant, and to what the plan is told
 *     local.ts     what is here: one VM as this host has it
 *     plan.ts      wanted - actual = operation
 *     performing.ts, grants.ts    the operations; what of them is on disk
 */
import type { Clock, Timer } from '../../protocols/clock.ts'
import { compareEpochs, type Epoch, printEpoch } from '../../protocols/epoch.ts'
import { describeFailure, type Failure } from '../../protocols/errors.ts'
import type { VmId } from '../../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Journal } from '../../storage/journal.ts'
import type { Grant, HolderPromise } from '../../storage/records.ts'
import type { Store } from '../../storage/store.ts'
import type { SiteVm } from '../catalog/site.ts'
import type { CapturedDisk, Disks, Hypervisor, MachineEvent } from '../hypervisor.ts'
import { Grants, recover } from './grants.ts'
import { FORGIVEN, givenUp, type Local, type LocalState, nothingOf, setBack, stateOf } from './local.ts'
import { perform, type Performing, powerOff } from './performing.ts'
import { type Operation, plan } from './plan.ts'
import { grantFrom, type Surroundings, waitingSince, wantedOf } from './wanted.ts'

type Ports = {
  readonly clock: Clock
  readonly store: Store
  readonly hypervisor: Hypervisor
  readonly disks: Disks
  readonly journal: Journal
}

const LOOK_MS = 1_000

type LocalView = {
  readonly state: LocalState
  readonly why: string
  readonly epoch: Epoch | undefined
}

export class Vms {
  readonly #around: Surroundings
  readonly #ports: Ports
  readonly #grants: Grants
  readonly #performing: Performing
  readonly #vms = new Map<VmId, Local>()
  #timer: Timer | undefined
  #ready = false
  #stopped = false

  constructor(around: Surroundings, ports: Ports) {
    this.#around = around
    this.#ports = ports
    this.#grants = new Grants({
      store: ports.store,
      note: (vm, kind, text) => this.#note(vm, kind, text),
      written: (local, outcome) => this.#written(local, outcome),
    })
    this.#performing = { ...ports, around, grants: this.#grants, plan: (local) => this.#plan(local) }
    recover(ports.store, (vm) => this.#local(vm))
    ports.hypervisor.onEvent((event) => this.#hear(event))
  }

  /** Finds the guests that are running already, then begins to reconcile; `done` once it has. */
  start(done: () => void): void {
    this.find(() => {
      this.#ready = true
      const look = (): void => {
        if (this.#stopped) return
        this.reconcile()
        this.#timer = this.#ports.clock.after(LOOK_MS, look)
      }
      look()
      done()
    })
  }

  /** Finds the guests that are running already, and leaves it at that. */
  find(done: () => void): void {
    this.#ports.hypervisor.inspect((outcome) => {
      for (const machine of outcome.ok ? outcome.value : []) {
        this.#local(machine.vm).machine = machine
        this.#note(machine.vm, 'adopted', `found ${machine.state} under ${printEpoch(machine.epoch)}`)
      }
      done()
    })
  }

  /** Guests go on; nothing is begun any more. */
  stop(): void {
    this.#stopped = true
    this.#grants.stop()
    this.#timer?.cancel()
  }

  /** Looks at every VM again; cheap when nothing changed. */
  reconcile(): void {
    if (!this.#ready || this.#stopped || this.#around.unheard() !== undefined) return
    for (const vm of this.#around.placedHere()) {
      this.#follow(vm)
      this.#remind(vm)
    }
    for (const local of this.#vms.values()) this.#voidPromise(local)
    for (const vm of [...this.#vms.keys()].toSorted()) this.#advance(this.#local(vm))
  }

  /** Operations that would be performed now, for people. */
  planned(): { vm: VmId; name: string; operation: Operation }[] {
    return [...this.#vms.values()].map((local) => ({
      vm: local.vm,
      name: local.grant?.name ?? local.vm,
      operation: this.#plan(local),
    }))
  }

  view(vm: VmId): LocalView | undefined {
    const local = this.#vms.get(vm)
    if (local === undefined || (local.grant === undefined && local.machine === undefined)) return undefined
    const why = this.#around.unheard() ?? this.#plan(local).why
    return {
      state: stateOf(local),
      why: local.failure === undefined ? why : describeFailure(local.failure),
      epoch: local.grant?.epoch ?? local.machine?.epoch,
    }
  }

  /** VMs this host holds grants for. */
  grants(): Grant[] {
    return [...this.#vms.values()].flatMap(({ grant }) => (grant === undefined ? [] : [grant]))
  }

  /** No grant is being written: what `grants` says is all that this host holds. */
  get settled(): boolean {
    return this.#ready && this.#grants.settled
  }

  grantOf(vm: VmId): Grant | undefined {
    return this.#vms.get(vm)?.grant
  }

  runs(vm: VmId): boolean {
    return this.#vms.get(vm)?.machine?.state === 'running'
  }

  /** This host gave that epoch up for good. */
  gaveUp(vm: VmId, epoch: Epoch): boolean {
    const local = this.#vms.get(vm)
    return local !== undefined && givenUp(local, epoch)
  }

  promiseOf(vm: VmId): HolderPromise | undefined {
    return this.#vms.get(vm)?.promise
  }

  /** Promises this host has made, also of VMs that are long gone from it. */
  promises(): HolderPromise[] {
    return [...this.#vms.values()].flatMap(({ promise }) => (promise === undefined ? [] : [promise]))
  }

  /** An operator's start or stop: forgets back-off and what the guest did by itself. */
  asked(vm: VmId): void {
    const local = this.#vms.get(vm)
    if (local === undefined) return
    Object.assign(local, { ...FORGIVEN, poweredOff: false, asked: true })
    this.reconcile()
  }

  /** Writes a grant that an owning log gives to this host; durable before anything is done under it. */
  take(grant: Grant): void {
    const local = this.#local(grant.vm)
    const held = local.grant
    if (held !== undefined && compareEpochs(held.epoch, grant.epoch) > 0) return
    if (givenUp(local, grant.epoch)) return
    this.#grants.save(local, grant)
  }

  // What a move asks for ------------------------------------------------------------------------------------------

  /** Stops the guest for a move; done at once when it does not run. */
  stopForMove(vm: VmId, done: Done<void>): void {
    const local = this.#local(vm)
    if (local.busy !== undefined) return done(failed({ code: 'BUSY', vm, by: local.busy }))
    if (local.machine === undefined) return done(ok(undefined))
    local.busy = 'power-off'
    powerOff(local, this.#ports, (outcome) => {
      local.busy = undefined
      done(outcome)
    })
  }

  capture(vm: VmId, done: Done<CapturedDisk[]>): void {
    const { busy, machine } = this.#local(vm)
    if (busy !== undefined) return done(failed({ code: 'BUSY', vm, by: busy }))
    if (machine !== undefined)
      return done(failed({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'captured' }))
    this.#ports.disks.capture(vm, done)
  }

  /** "Never again under this epoch", synced; only the committed cancel of m undoes it. */
  promise(vm: VmId, m: string, disks: readonly { image: string; bytes: number }[], done: Done<void>): void {
    const local = this.#local(vm)
    const { busy, grant, machine } = local
    if (busy !== undefined) return done(failed({ code: 'BUSY', vm, by: busy }))
    if (grant === undefined) return done(failed({ code: 'NOT_GRANTED', vm, why: 'this host holds no grant' }))
    if (machine !== undefined)
      return done(failed({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'given up' }))
    const kept = disks.map(({ image, bytes }) => ({ image, bytes }))
    this.#grants.promise(local, { vm, epoch: grant.epoch, m, disks: kept }, done)
  }

  // Inside --------------------------------------------------------------------------------------------------------

  #local(vm: VmId): Local {
    const known = this.#vms.get(vm)
    if (known !== undefined) return known
    const local = nothingOf(vm)
    this.#vms.set(vm, local)
    return local
  }

  #plan(local: Local): Operation {
    const wanted = wantedOf(local, this.#around, this.#ports.clock.nowMs())
    const { machine, images } = local
    return plan(wanted, { machine, disks: this.#ports.disks.has(local.vm), images })
  }

  /** The site's group has placed it here: the grant is written, or brought up to date. */
  #follow(vm: SiteVm): void {
    const local = this.#local(vm.id)
    const grant = grantFrom(vm, local, this.#around.agreedIndex())
    if (grant !== undefined) this.#grants.save(local, grant)
  }

  /** What the site's log has not heard yet, said again: a VM that was deleted here, a guest that powered itself off. */
  #remind(vm: SiteVm): void {
    const local = this.#local(vm.id)
    const gone = vm.deleting && local.grant === undefined && local.machine === undefined
    if (gone && givenUp(local, vm.epoch) && !this.#ports.disks.has(vm.id)) this.#around.gone(vm.id, vm.epoch)
    // Once that is agreed, what is wanted says everything, and a later start is somebody's wish.
    if (vm.wanted === 'stopped') local.poweredOff = false
    if (local.poweredOff && vm.move === undefined) this.#around.wantStopped(vm.id)
  }

  /** A promise made for a move that was cancelled binds no longer. */
  #voidPromise(local: Local): void {
    const m = local.promise?.m
    if (m !== undefined && this.#around.moveEnded(local.vm, m) === 'cancelled') this.#grants.takeBack(local)
  }

  #written(local: Local, outcome: Outcome<void>): void {
    if (outcome.ok) this.#advance(local)
    else this.#failed(local, outcome.failure)
  }

  #advance(local: Local): void {
    if (!this.#ready || this.#stopped || local.busy !== undefined || this.#grants.isWriting(local.vm)) return
    if (this.#around.unheard() !== undefined) return
    const nowMs = this.#ports.clock.nowMs()
    local.waitingSinceMs = waitingSince(local, this.#around, nowMs)
    const { kind, why } = this.#plan(local)
    if (kind === 'none' || nowMs < local.notBeforeMs) return
    local.busy = kind
    if (kind !== 'fetch') this.#note(local.vm, kind, why)
    this.#around.changed()
    perform(kind, local, this.#performing, (outcome) => {
      local.busy = undefined
      if (outcome.ok) Object.assign(local, FORGIVEN)
      else this.#failed(local, outcome.failure)
      this.#around.changed()
      if (outcome.ok) this.#advance(local)
    })
  }

  #hear(event: MachineEvent): void {
    const local = this.#vms.get(event.vm)
    if (local === undefined || this.#stopped) return
    if (local.machine !== undefined && compareEpochs(local.machine.epoch, event.epoch) !== 0) return
    local.machine = undefined
    this.#note(event.vm, 'exited', `the guest ended: ${event.why}`)
    // Powered off from inside: it stays off, as a machine on a desk would. What ended while no peer was here may have
    // been stopped by a move, which only the catalog can tell, and that has not caught up yet: it is started again.
    const byItself = event.why === 'shutdown' && local.busy === undefined && !local.pressed && this.#ready
    if (byItself && local.grant?.wanted === 'running' && !this.#around.moveHolds(event.vm))
      local.poweredOff = true
    if (event.why === 'crashed') {
      this.#failed(local, { code: 'HYPERVISOR', vm: local.grant?.name ?? event.vm, why: 'the guest crashed' })
    }
    this.#around.changed()
    this.reconcile()
  }

  #failed(local: Local, failure: Failure): void {
    setBack(local, failure, this.#ports.clock.nowMs())
    this.#note(local.vm, 'failed', describeFailure(failure))
  }

  #note(vm: VmId, kind: string, text: string): void {
    this.#ports.journal.append({
      atMs: this.#ports.clock.wallMs(),
      kind,
      subject: vm,
      text: text.slice(0, 500),
    })
  }
}
