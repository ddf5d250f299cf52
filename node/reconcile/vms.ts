/**
 * The VMs of this host: keeps grants and promises, asks plan.ts what each VM needs next, and performs it, one operation
 * at a time for each VM. What is wanted comes from the site's catalog while there is one, and from the grant alone when
 * there is not: a host that boots cut off runs what it holds (DESIGN section 3).
 *
 * Invariant: a grant is synced before the plan sees it, and the plan is asked again right before each start.
 */
import type { Clock, Timer } from '../../protocols/clock.ts'
import { compareEpochs, type Epoch, printEpoch } from '../../protocols/epoch.ts'
import { describeFailure, type Failure } from '../../protocols/errors.ts'
import type { PeerId, VmId } from '../../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../../protocols/outcome.ts'
import type { Journal } from '../../storage/journal.ts'
import { key } from '../../storage/keyspace.ts'
import { grant as grantRecord, type Grant, holderPromise, type HolderPromise } from '../../storage/records.ts'
import type { Op, Store } from '../../storage/store.ts'
import type { SiteVm } from '../catalog/site.ts'
import { specOf } from '../catalog/site.ts'
import type { CapturedDisk, Disks, Hypervisor, Machine, MachineEvent } from '../hypervisor.ts'
import { type Actual, type Operation, plan, type Wanted } from './plan.ts'

/** What a VM asks of its surroundings; answered by compose.ts. */
export type Surroundings = {
  readonly self: PeerId
  /** Id of this boot of the machine. */
  readonly boot: string
  /** The VM as the site's group has it, if it does. */
  agreed(vm: VmId): SiteVm | undefined
  /** VMs the site's group has placed here. */
  placedHere(): SiteVm[]
  /** How far the site's log is applied here. */
  agreedIndex(): number
  /** The epoch of a home elsewhere, when the mesh's group knows of one. */
  homeElsewhere(vm: VmId): Epoch | undefined
  /** A move has the guest in its hands. */
  moveHolds(vm: VmId): boolean
  /** How move m of the VM ended, when its log says so. */
  moveEnded(vm: VmId, m: string): 'taken' | 'cancelled' | undefined
  /** First VM that this one depends on and that is not seen running. */
  unmetDependency(names: readonly string[]): string | undefined
  fetch(vm: VmId, images: readonly { image: string; bytes: number }[], done: Done<void>): void
  /** The guest powered itself off: it is to stay off. Called until it is agreed; so is `gone`. */
  wantStopped(vm: VmId): void
  /** Guest, disks and grant are gone. */
  gone(vm: VmId, epoch: Epoch): void
  changed(): void
}

type Ports = {
  readonly clock: Clock
  readonly store: Store
  readonly hypervisor: Hypervisor
  readonly disks: Disks
  readonly journal: Journal
}

type Local = {
  readonly vm: VmId
  grant: Grant | undefined
  promise: HolderPromise | undefined
  machine: Machine | undefined
  images: boolean
  busy: Operation['kind'] | undefined
  /** No further try before this. */
  notBeforeMs: number
  failures: number
  failure: Failure | undefined
  /** The guest powered itself off while it was wanted running. */
  poweredOff: boolean
  /** Its power button was pressed since it was started: if it ends by it, however late, that is not by itself. */
  pressed: boolean
  /** A start was asked for in this boot: autostart no longer matters. */
  asked: boolean
  waitingSinceMs: number
}

/** How long a guest may take to power off before the one who asked is told. */
const POWER_OFF_MS = 60_000
/** Back-off after a failed operation: doubles from the first to the last. */
const BACKOFF_MS = { first: 1_000, last: 60_000 }
/** A dependency that does not come up holds its dependents this long and no longer. */
const DEPENDENCY_MS = 300_000
const LOOK_MS = 1_000

export type LocalView = {
  readonly state: 'running' | 'paused' | 'stopped' | 'starting' | 'stopping' | 'fetching' | 'failed'
  readonly why: string
  readonly epoch: Epoch | undefined
}

export class Vms {
  readonly #around: Surroundings
  readonly #ports: Ports
  readonly #vms = new Map<VmId, Local>()
  readonly #writing = new Set<VmId>()
  #timer: Timer | undefined
  #ready = false
  #stopped = false

  constructor(around: Surroundings, ports: Ports) {
    this.#around = around
    this.#ports = ports
    for (const [, value] of ports.store.recovered(key('grant'))) {
      const grant = grantRecord.decode(value)
      this.#local(grant.vm).grant = grant
    }
    for (const [, value] of ports.store.recovered(key('promise'))) {
      const promise = holderPromise.decode(value)
      this.#local(promise.vm).promise = promise
    }
    ports.hypervisor.onEvent((event) => this.#hear(event))
  }

  /** Finds the guests that are running already, then begins to reconcile; `done` once it has. */
  start(done: () => void): void {
    this.#ports.hypervisor.inspect((outcome) => {
      if (outcome.ok) {
        for (const machine of outcome.value) {
          this.#local(machine.vm).machine = machine
          this.#note(machine.vm, 'adopted', `found ${machine.state} under ${printEpoch(machine.epoch)}`)
        }
      }
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

  /** Guests go on; nothing is begun any more. */
  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  /** Looks at every VM again; cheap when nothing changed. */
  reconcile(): void {
    if (!this.#ready || this.#stopped) return
    for (const vm of this.#around.placedHere()) {
      this.#adoptAgreed(vm)
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
      operation: plan(this.#wanted(local), this.#actual(local)),
    }))
  }

  view(vm: VmId): LocalView | undefined {
    const local = this.#vms.get(vm)
    if (local === undefined || (local.grant === undefined && local.machine === undefined)) return undefined
    const { why } = plan(this.#wanted(local), this.#actual(local))
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
    return this.#ready && this.#writing.size === 0
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

  /** An operator's start or stop: forgets back-off and what the guest did by itself. */
  asked(vm: VmId): void {
    const local = this.#vms.get(vm)
    if (local === undefined) return
    Object.assign(local, { notBeforeMs: 0, failures: 0, failure: undefined, poweredOff: false, asked: true })
    this.reconcile()
  }

  /** Writes a grant that an owning log gives to this host; durable before anything is done under it. */
  take(grant: Grant): void {
    const local = this.#local(grant.vm)
    const held = local.grant
    if (held !== undefined && compareEpochs(held.epoch, grant.epoch) > 0) return
    if (givenUp(local, grant.epoch)) return
    this.#save(local, grant)
  }

  // What a move asks for ------------------------------------------------------------------------------------------

  /** Stops the guest for a move; done at once when it does not run. */
  stopForMove(vm: VmId, done: Done<void>): void {
    const local = this.#local(vm)
    if (local.busy !== undefined) return done(failed({ code: 'BUSY', vm, by: local.busy }))
    if (local.machine === undefined) return done(ok(undefined))
    local.busy = 'power-off'
    local.pressed = true
    this.#ports.hypervisor.powerOff(vm, POWER_OFF_MS, (outcome) => {
      local.busy = undefined
      if (outcome.ok) local.machine = undefined
      done(outcome)
    })
  }

  capture(vm: VmId, done: Done<CapturedDisk[]>): void {
    const { busy } = this.#local(vm)
    if (busy !== undefined) return done(failed({ code: 'BUSY', vm, by: busy }))
    if (this.#local(vm).machine !== undefined)
      return done(failed({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'captured' }))
    this.#ports.disks.capture(vm, done)
  }

  /** "Never again under this epoch", synced; only the committed cancel of m undoes it. */
  promise(vm: VmId, m: string, disks: readonly { image: string; bytes: number }[], done: Done<void>): void {
    const local = this.#local(vm)
    const { grant } = local
    if (local.busy !== undefined) return done(failed({ code: 'BUSY', vm, by: local.busy }))
    if (grant === undefined) return done(failed({ code: 'NOT_GRANTED', vm, why: 'this host holds no grant' }))
    if (local.machine !== undefined)
      return done(failed({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted: 'given up' }))
    const promise: HolderPromise = {
      vm,
      epoch: grant.epoch,
      m,
      disks: disks.map(({ image, bytes }) => ({ image, bytes })),
    }
    // In force from here on, whether or not the write comes through: a promise may be stricter than the disk says.
    local.promise = promise
    this.#write([{ kind: 'put', key: key('promise', vm), value: holderPromise.encode(promise) }], done)
  }

  // Inside --------------------------------------------------------------------------------------------------------

  #local(vm: VmId): Local {
    const known = this.#vms.get(vm)
    if (known !== undefined) return known
    const local: Local = {
      vm,
      grant: undefined,
      promise: undefined,
      machine: undefined,
      images: false,
      busy: undefined,
      notBeforeMs: 0,
      failures: 0,
      failure: undefined,
      poweredOff: false,
      pressed: false,
      asked: false,
      waitingSinceMs: 0,
    }
    this.#vms.set(vm, local)
    return local
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

  /** The site's group has placed it here: the grant is written, or brought up to date. */
  #adoptAgreed(vm: SiteVm): void {
    const local = this.#local(vm.id)
    const { grant } = local
    if (grant !== undefined && compareEpochs(grant.epoch, vm.epoch) > 0) return
    if (givenUp(local, vm.epoch)) return
    const index = this.#around.agreedIndex()
    // After a start the log is applied anew: until it has come as far as it was, this host knows better what is wanted.
    if (grant !== undefined && compareEpochs(grant.epoch, vm.epoch) === 0 && index < (grant.index ?? 0))
      return
    const next: Grant = {
      vm: vm.id,
      name: vm.name,
      epoch: vm.epoch,
      terms: 'held',
      spec: vm.spec,
      disks: vm.disks,
      wanted: vm.wanted,
      deleting: vm.deleting,
      boot: grant?.boot ?? '',
      index,
    }
    if (grant === undefined || !sameGrant(grant, next)) this.#save(local, next)
  }

  #save(local: Local, grant: Grant): void {
    if (this.#writing.has(local.vm)) return
    this.#writing.add(local.vm)
    this.#write(
      [{ kind: 'put', key: key('grant', local.vm), value: grantRecord.encode(grant) }],
      (outcome) => {
        this.#writing.delete(local.vm)
        if (!outcome.ok) return this.#failed(local, outcome.failure)
        if (local.grant === undefined || compareEpochs(local.grant.epoch, grant.epoch) !== 0) {
          this.#note(grant.vm, 'granted', `may run ${grant.name} under ${printEpoch(grant.epoch)}`)
          // Whatever went wrong or was switched off under an older grant is history.
          const fresh = { images: false, poweredOff: false, failures: 0, failure: undefined, notBeforeMs: 0 }
          Object.assign(local, fresh)
        }
        local.grant = grant
        this.#advance(local)
      },
    )
  }

  /** A promise made for a move that was cancelled binds no longer. */
  #voidPromise(local: Local): void {
    const { promise } = local
    if (promise?.m === undefined || this.#around.moveEnded(local.vm, promise.m) !== 'cancelled') return
    if (this.#writing.has(local.vm)) return
    this.#writing.add(local.vm)
    this.#write([{ kind: 'del', key: key('promise', local.vm) }], (outcome) => {
      this.#writing.delete(local.vm)
      if (!outcome.ok) return
      if (local.promise === promise) local.promise = undefined
      this.#advance(local)
    })
  }

  #wanted(local: Local): Wanted {
    const agreed = this.#around.agreed(local.vm)
    const elsewhere = this.#around.homeElsewhere(local.vm)
    const highest =
      elsewhere !== undefined && (agreed === undefined || compareEpochs(elsewhere, agreed.epoch) > 0)
        ? { epoch: elsewhere, here: false }
        : agreed && { epoch: agreed.epoch, here: agreed.host === this.#around.self }
    return {
      wanted: local.poweredOff ? 'stopped' : (local.grant?.wanted ?? 'stopped'),
      grant: local.grant?.epoch,
      promised: local.promise?.epoch,
      agreed: highest,
      deleting: local.grant?.deleting ?? false,
      moving: this.#around.moveHolds(local.vm),
      kill: agreed?.kill ?? false,
      wait: this.#wait(local),
    }
  }

  #wait(local: Local): string | undefined {
    if (local.grant === undefined) return undefined
    const nowMs = this.#ports.clock.nowMs()
    const spec = specOf(local.grant)
    const otherBoot = local.grant.boot !== '' && local.grant.boot !== this.#around.boot
    if (otherBoot && !spec.autostart && !local.asked) return 'autostart is off'
    const unmet = this.#around.unmetDependency(spec.dependsOn)
    if (unmet !== undefined && local.waitingSinceMs > 0 && nowMs - local.waitingSinceMs < DEPENDENCY_MS)
      return `${unmet} does not run yet`
    if (nowMs < local.notBeforeMs) return `tries again in ${Math.ceil((local.notBeforeMs - nowMs) / 1_000)} s`
    return undefined
  }

  #actual(local: Local): Actual {
    return { machine: local.machine, disks: this.#ports.disks.has(local.vm), images: local.images }
  }

  #advance(local: Local): void {
    if (!this.#ready || this.#stopped || local.busy !== undefined || this.#writing.has(local.vm)) return
    const nowMs = this.#ports.clock.nowMs()
    if (
      local.grant !== undefined &&
      this.#around.unmetDependency(specOf(local.grant).dependsOn) !== undefined
    ) {
      local.waitingSinceMs ||= nowMs
    } else local.waitingSinceMs = 0
    const operation = plan(this.#wanted(local), this.#actual(local))
    if (operation.kind === 'none' || nowMs < local.notBeforeMs) return
    local.busy = operation.kind
    if (operation.kind !== 'fetch') this.#note(local.vm, operation.kind, operation.why)
    this.#around.changed()
    this.#perform(local, operation.kind, (outcome) => {
      local.busy = undefined
      if (outcome.ok) Object.assign(local, { failures: 0, failure: undefined, notBeforeMs: 0 })
      else this.#failed(local, outcome.failure)
      this.#around.changed()
      if (outcome.ok) this.#advance(local)
    })
  }

  #perform(local: Local, kind: Exclude<Operation['kind'], 'none'>, done: Done<void>): void {
    const { vm, grant } = local
    const { hypervisor, disks } = this.#ports
    switch (kind) {
      case 'kill':
        return hypervisor.kill(vm, (outcome) => {
          if (outcome.ok) local.machine = undefined
          done(outcome)
        })
      case 'power-off':
        local.pressed = true
        return hypervisor.powerOff(vm, POWER_OFF_MS, (outcome) => {
          if (outcome.ok) local.machine = undefined
          done(outcome)
        })
      case 'fetch':
        return this.#around.fetch(vm, grant?.disks ?? [], (outcome) => {
          local.images = outcome.ok
          done(outcome)
        })
      case 'prepare':
        return disks.prepare(vm, this.#sources(grant), (outcome) =>
          done(outcome.ok ? ok(undefined) : outcome),
        )
      case 'start':
        return this.#start(local, done)
      case 'set-aside':
        if (!disks.has(vm)) return this.#drop(local, done)
        return disks.setAside(vm, printEpoch(grant?.epoch ?? [0, 0, 0, 0]), (outcome) =>
          outcome.ok ? this.#drop(local, done) : done(outcome),
        )
      case 'remove':
        return disks.remove(vm, (outcome) => {
          if (!outcome.ok) return done(outcome)
          const epoch = grant?.epoch
          this.#drop(local, (dropped) => {
            if (dropped.ok && epoch !== undefined) this.#around.gone(vm, epoch)
            done(dropped)
          })
        })
    }
  }

  #sources(grant: Grant | undefined): { image: string; bytes: number }[] {
    if (grant === undefined) return []
    const spec = specOf(grant)
    return grant.disks.map(({ image, bytes }, index) => ({
      image,
      bytes: Math.max(bytes, (spec.disks[index]?.sizeMiB ?? 0) * 1024 ** 2),
    }))
  }

  #start(local: Local, done: Done<void>): void {
    const { vm, grant } = local
    if (grant === undefined) return done(failed({ code: 'NOT_GRANTED', vm, why: 'this host holds no grant' }))
    this.#ports.disks.prepare(vm, this.#sources(grant), (prepared) => {
      if (!prepared.ok) return done(prepared)
      // Asked again: what came to be known meanwhile counts.
      const { kind, why } = plan(this.#wanted(local), this.#actual(local))
      if (kind !== 'start')
        return done(failed({ code: 'NOT_GRANTED', vm: grant.name, why: why || 'it is not wanted running' }))
      const config = { vm, name: grant.name, epoch: grant.epoch, spec: specOf(grant), disks: prepared.value }
      this.#ports.hypervisor.start(config, (started) => {
        if (!started.ok) return done(started)
        local.machine = started.value
        local.asked = false
        local.pressed = false
        if (grant.boot !== this.#around.boot && local.grant === grant) {
          this.#save(local, { ...grant, boot: this.#around.boot })
        }
        done(ok(undefined))
      })
    })
  }

  /**
   * The VM is history here: its grant goes, and a promise for good takes its place. A log that is replayed after a
   * restart passes through the state in which the VM was placed here; without the promise it would be started again.
   */
  #drop(local: Local, done: Done<void>): void {
    const { vm, grant } = local
    const ops: Op[] = [{ kind: 'del', key: key('grant', vm) }]
    const promise: HolderPromise | undefined = grant && { vm, epoch: grant.epoch, disks: [] }
    if (promise !== undefined) {
      ops.push({ kind: 'put', key: key('promise', vm), value: holderPromise.encode(promise) })
    }
    this.#write(ops, (outcome) => {
      if (outcome.ok)
        Object.assign(local, { grant: undefined, promise: promise ?? local.promise, images: false })
      this.#ports.hypervisor.forget(vm, () => done(outcome))
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
    if (byItself && local.grant?.wanted === 'running' && !this.#wanted(local).moving) {
      local.poweredOff = true
    }
    if (event.why === 'crashed') {
      this.#failed(local, { code: 'HYPERVISOR', vm: local.grant?.name ?? event.vm, why: 'the guest crashed' })
    }
    this.#around.changed()
    this.reconcile()
  }

  #failed(local: Local, failure: Failure): void {
    local.failure = failure
    local.notBeforeMs =
      this.#ports.clock.nowMs() + Math.min(BACKOFF_MS.first * 2 ** local.failures, BACKOFF_MS.last)
    local.failures = Math.min(local.failures + 1, 16)
    this.#note(local.vm, 'failed', describeFailure(failure))
  }

  #write(ops: readonly Op[], done: Done<void>): void {
    this.#ports.store.write(ops, true, (outcome: Outcome<void>) => {
      if (!this.#stopped) done(outcome)
    })
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

/** This host gave that epoch up for good: what still says otherwise is old. */
const givenUp = ({ promise }: Local, epoch: Epoch): boolean =>
  promise !== undefined && promise.m === undefined && compareEpochs(promise.epoch, epoch) >= 0

function stateOf({ machine, busy, failure }: Local): LocalView['state'] {
  if (busy === 'start' || busy === 'prepare') return 'starting'
  if (busy === 'power-off' || busy === 'kill') return 'stopping'
  if (busy === 'fetch') return 'fetching'
  if (machine?.state === 'running' || machine?.state === 'paused') return machine.state
  return failure === undefined ? 'stopped' : 'failed'
}

function sameGrant(a: Grant, b: Grant): boolean {
  return (
    compareEpochs(a.epoch, b.epoch) === 0 &&
    a.spec === b.spec &&
    a.wanted === b.wanted &&
    a.deleting === b.deleting &&
    a.name === b.name
  )
}
