/**
 * Moves that this host takes part in, as source, as destination, or as leader of a site that reserved room. The cores in
 * migration/move decide; this shell performs: proposals, messages, the guest, pulls. What it must survive stands in the
 * logs: at start, and whenever nobody has a move in hand that the site's log says is under way here, it is taken up again.
 */
import type { Clock } from '../protocols/clock.ts'
import { compareEpochs, nextHome } from '../protocols/epoch.ts'
import { describeFailure, type Failure, mayRetry } from '../protocols/errors.ts'
import type { PeerId, VmId } from '../protocols/ids.ts'
import { type Cost, message as moveMessage, type Message, PROTOCOL } from '../protocols/move/messages.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { Transport } from '../protocols/transport.ts'
import {
  type Destination,
  type DestinationEffect,
  type DestinationEvent,
  startDestination,
  stepDestination,
} from '../migration/move/destination.ts'
import {
  type Source,
  type SourceEffect,
  sourceEnded,
  type SourceEvent,
  startSource,
  stepSource,
} from '../migration/move/source.ts'
import type { Agreement } from './agreement.ts'
import type { Asking } from './asking.ts'
import { type MeshMove, peersOfSite } from './catalog/mesh.ts'
import { hostsForPlacement, requestOf, type SiteVm } from './catalog/site.ts'
import type { Disks } from './hypervisor.ts'
import type { Jobs } from './jobs.ts'
import { place } from './placement/place.ts'
import type { Vms } from './reconcile/vms.ts'

export type Pull = (
  images: readonly { image: string; bytes: number }[],
  onCost: (cost: Cost) => void,
  done: Done<Cost>,
) => { cancel(): void }

type Around = {
  readonly self: PeerId
  readonly site: string
  readonly clock: Clock
  readonly transport: Transport
  readonly agreement: Agreement
  readonly asking: Asking
  readonly vms: Vms
  readonly jobs: Jobs
  readonly disks: Disks
  readonly pull: Pull
}

type Outbound = { source: Source; host: PeerId; to: string; readonly inHand: Set<string> }
type Inbound = {
  destination: Destination
  source: PeerId
  pull: { cancel(): void } | undefined
  prepared: boolean
  inHand: Set<string>
}

const TICK_MS = 1_000
/** A move that nobody took by then is withdrawn: longer than a link mostly stays away, shorter than people forget. */
const MOVE_MS = 30 * 60_000
/** Room reserved for a move that its source never agreed on. */
const RESERVATION_MS = 10 * 60_000

export type ReserveParams = {
  m: string
  vm: VmId
  name: string
  spec: string
  host: PeerId | null
  epoch: SiteVm['epoch']
  bytes: number
}

export class Moves {
  readonly #around: Around
  readonly #out = new Map<string, Outbound>()
  readonly #in = new Map<string, Inbound>()
  readonly #reservedSince = new Map<string, number>()
  #stopped = false

  constructor(around: Around) {
    this.#around = around
    around.transport.serve(PROTOCOL, { frame: (from, frame) => this.#hear(from, moveMessage.decode(frame)) })
  }

  start(): void {
    const tick = (): void => {
      if (this.#stopped) return
      this.#tick()
      this.#around.clock.after(TICK_MS, tick)
    }
    tick()
  }

  stop(): void {
    this.#stopped = true
    for (const inbound of this.#in.values()) inbound.pull?.cancel()
  }

  /** Begins a move of a VM that is placed here. `host` undefined: the destination's site chooses. */
  begin(m: string, vm: SiteVm, to: string, host: PeerId | undefined): void {
    this.#begin(m, vm, to, host ?? '', undefined)
  }

  /** At the destination site's leader: chooses a host that has room, and reserves it. */
  reserve(params: ReserveParams, done: Done<{ host: PeerId }>): void {
    const { agreement } = this.#around
    const { m, vm, name, spec, epoch } = params
    const hosts = hostsForPlacement(agreement.site.state).filter(
      ({ id }) => params.host === null || id === params.host,
    )
    const known = agreement.site.state.reservations[vm]
    const request = { ...requestOf({ spec, disks: [] }), vm: name }
    const placed =
      known?.m === m
        ? { ok: true as const, host: known.host }
        : place({ ...request, diskBytes: Math.max(request.diskBytes, params.bytes) }, hosts)
    if (!placed.ok) return done(failed({ code: 'NO_HOST', vm: name, reasons: placed.reasons.slice(0, 64) }))
    const { host } = placed
    agreement.proposeSite({ kind: 'reserve', m, vm, name, spec, host, epoch }, (outcome) =>
      done(outcome.ok ? ok({ host }) : outcome),
    )
  }

  /** Something agreed on has changed: outcomes may be known. */
  look(): void {
    if (this.#stopped) return
    for (const outbound of this.#out.values()) {
      const { source } = outbound
      const how = this.ended(source.vm, source.m)
      if (how !== undefined) this.#source(outbound, { kind: 'outcome', outcome: how, why: this.#why(source) })
    }
    for (const inbound of this.#in.values()) this.#lookInbound(inbound)
    this.#takeNamed()
  }

  /** How move m of the VM ended, when its log says so. */
  ended(vm: VmId, m: string): 'taken' | 'cancelled' | undefined {
    const { mesh, site } = this.#around.agreement
    const move = mesh.state.moves[vm]
    if (move?.m === m) return move.state === 'intended' ? undefined : move.state
    const here = site.state.vms[vm]
    return here?.ended?.m === m ? here.ended.how : undefined
  }

  // Source --------------------------------------------------------------------------------------------------------

  #begin(
    m: string,
    vm: SiteVm,
    to: string,
    host: PeerId,
    recovered: Parameters<typeof startSource>[1],
  ): void {
    const { clock, jobs, site } = this.#around
    const nowMs = clock.nowMs()
    const source = startSource(
      {
        m,
        vm: vm.id,
        name: vm.name,
        scope: to === site ? 'site' : 'mesh',
        from: site,
        epoch: vm.epoch,
        spec: vm.spec,
        wanted: vm.wanted,
        base: vm.disks,
        deadlineMs: nowMs + MOVE_MS,
        nowMs,
      },
      recovered,
    )
    const outbound: Outbound = { source, host, to, inHand: new Set() }
    this.#out.set(m, outbound)
    jobs.begin(m, 'move', vm.name, () =>
      this.#source(outbound, { kind: 'cancel', why: 'cancelled by the operator' }),
    )
    this.#source(outbound, { kind: 'start' })
  }

  #source(outbound: Outbound, event: SourceEvent): void {
    const { source } = outbound
    if (sourceEnded(source)) return
    source.nowMs = this.#around.clock.nowMs()
    const effects = stepSource(source, event)
    this.#report(outbound)
    for (const effect of effects) this.#performSource(outbound, effect)
  }

  #performSource(outbound: Outbound, effect: SourceEffect): void {
    const { source } = outbound
    const { vms, agreement } = this.#around
    const { vm, m } = source
    const settle =
      <T>(event: (value: T) => SourceEvent): Done<T> =>
      (outcome) => {
        if (outcome.ok) return this.#source(outbound, event(outcome.value))
        if (mayRetry(outcome.failure) && outcome.failure.code === 'BUSY') return // The tick asks again.
        this.#source(outbound, { kind: 'failed', failure: outcome.failure })
      }
    switch (effect.kind) {
      case 'propose':
        if (effect.step === 'cancel') return this.#cancel(outbound)
        return this.#once(outbound.inHand, effect.step, (done) => {
          const { step } = effect
          this.#step(outbound, step === 'cancel' ? 'mark' : step, (outcome) => {
            done()
            if (step === 'cancel') return
            this.#source(
              outbound,
              outcome.ok ? { kind: 'agreed', step } : { kind: 'refused', step, failure: outcome.failure },
            )
          })
        })
      case 'send':
        if (outbound.host !== '')
          this.#around.transport.send(outbound.host, PROTOCOL, moveMessage.encode(effect.message))
        return
      case 'guest':
        return this.#once(outbound.inHand, effect.action, (done) => {
          const then =
            <T>(next: Done<T>): Done<T> =>
            (outcome) => {
              done()
              next(outcome)
            }
          if (effect.action === 'stop') vms.stopForMove(vm, then(settle(() => ({ kind: 'stopped' }))))
          else
            vms.capture(
              vm,
              then(
                settle((images) => ({
                  kind: 'captured',
                  images: images.map(({ image, bytes }) => ({ image, bytes })),
                })),
              ),
            )
        })
      case 'promise':
        return this.#once(outbound.inHand, 'promise', (done) =>
          vms.promise(vm, m, effect.images, (outcome) => {
            done()
            settle(() => ({ kind: 'promised' }))(outcome)
          }),
        )
      case 'resume':
        agreement.proposeSite({ kind: 'vm-move-cancel', m, vm, why: source.why || 'cancelled' }, () =>
          vms.reconcile(),
        )
        return
      case 'release':
        return vms.reconcile()
    }
  }

  #step(outbound: Outbound, step: 'reserve' | 'intend' | 'mark', done: Done<unknown>): void {
    const { agreement, asking, self } = this.#around
    const { source, host, to } = outbound
    const { m, vm, name, spec, epoch, wanted, from } = source
    if (step === 'intend') {
      return agreement.proposeMesh(
        { kind: 'move-intend', m, vm, name, from, to, source: self, host, epoch, spec, wanted },
        done,
      )
    }
    if (step === 'mark') return agreement.proposeSite({ kind: 'vm-move', m, vm, to, host, epoch }, done)
    const peer = this.#peerOf(to, host)
    if (peer === undefined)
      return done(failed({ code: 'MOVE_REFUSED', vm: name, why: 'no peer of that site is in sight' }))
    const bytes = source.base.reduce((sum, disk) => sum + disk.bytes, 0)
    const params: ReserveParams = { m, vm, name, spec, host: host === '' ? null : host, epoch, bytes }
    asking.there(peer, 'move.reserve', params, (outcome) => {
      if (outcome.ok) outbound.host = (outcome.value as { host: PeerId }).host
      done(outcome)
    })
  }

  /** A peer of that site to ask: the one that was named when it is in sight, else the first that is. */
  #peerOf(site: string, host: PeerId): PeerId | undefined {
    const connected = new Set(this.#around.transport.connected())
    const peers = peersOfSite(this.#around.agreement.mesh.state, site)
    return peers.find((id) => id === host && connected.has(id)) ?? peers.find((id) => connected.has(id))
  }

  /** Withdraws m where it may stand. Nothing stands there: it is over; else the log's answer comes by `look`. */
  #cancel(outbound: Outbound): void {
    const { agreement } = this.#around
    const { source, inHand } = outbound
    const { m, vm } = source
    const why = source.failure === undefined ? 'cancelled' : describeFailure(source.failure).slice(0, 300)
    this.#once(inHand, 'cancel', (done) => {
      const settle = (outcome: Outcome<unknown>): void => {
        done()
        // Not found: the intent was never agreed on, and proposals of one peer stay in order.
        if (!outcome.ok && outcome.failure.code === 'NOT_FOUND')
          this.#source(outbound, { kind: 'outcome', outcome: 'cancelled', why })
        this.look()
      }
      if (source.scope === 'mesh') agreement.proposeMesh({ kind: 'move-cancel', m, vm, why }, settle)
      else {
        agreement.proposeSite({ kind: 'vm-move-cancel', m, vm, why }, (outcome) => {
          const marked = agreement.site.state.vms[vm]?.move?.m === m
          settle(
            outcome.ok || marked || outcome.failure.code !== 'MOVE_CANCELLED'
              ? outcome
              : failed({ code: 'NOT_FOUND', what: 'move', name: m }),
          )
        })
      }
    })
  }

  #report(outbound: Outbound): void {
    const { jobs } = this.#around
    const { source } = outbound
    const { cost } = source
    const logicalBytes = (source.images.length > 0 ? source.images : source.base).reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    )
    const phase =
      (source.phase === 'seeding' || source.phase === 'offering') && source.remote !== ''
        ? source.remote
        : source.phase
    const figures = {
      phase: source.phase === 'offering' && phase === 'seeding' ? 'offering' : phase,
      doneBytes: cost.doneBytes,
      totalBytes: cost.totalBytes,
      sources: cost.sources,
      logicalBytes,
      dedupBytes: cost.dedupBytes,
      compressedBytes: cost.compressedBytes,
      wireBytes: cost.wireBytes,
      standstillMs: source.standstillMs > 0 ? source.standstillMs : null,
    }
    if (!sourceEnded(source)) return jobs.progress(source.m, figures)
    const failure: Failure | undefined =
      source.phase === 'done'
        ? undefined
        : (source.failure ?? { code: 'MOVE_CANCELLED', vm: source.name, why: source.why })
    jobs.end(source.m, failure, { ...figures, result: { host: outbound.host, vm: source.vm } })
  }

  #why(source: Source): string {
    const { mesh, site } = this.#around.agreement
    return mesh.state.moves[source.vm]?.why || site.state.vms[source.vm]?.ended?.why || ''
  }

  // Destination ---------------------------------------------------------------------------------------------------

  #hear(from: PeerId, message: Message): void {
    if (message.kind === 'seed' || message.kind === 'offer') {
      let inbound = this.#in.get(message.m)
      if (inbound === undefined) {
        // An offer of what was taken in an earlier life is answered from the grant; a cancelled one not at all.
        if (this.ended(message.vm, message.m) === 'cancelled') return
        inbound = {
          destination: startDestination(message),
          source: from,
          pull: undefined,
          prepared: false,
          inHand: new Set(),
        }
        if (this.ended(message.vm, message.m) === 'taken') inbound.destination.phase = 'taken'
        this.#in.set(message.m, inbound)
      }
      inbound.source = from
      this.#destination(inbound, { kind: 'message', message })
      return this.#lookInbound(inbound)
    }
    const outbound = this.#out.get(message.m)
    if (outbound?.host === from) this.#source(outbound, { kind: 'message', message })
  }

  #destination(inbound: Inbound, event: DestinationEvent): void {
    for (const effect of stepDestination(inbound.destination, event))
      this.#performDestination(inbound, effect)
  }

  #performDestination(inbound: Inbound, effect: DestinationEffect): void {
    const { agreement, transport, self, disks, vms } = this.#around
    const { m, vm } = inbound.destination
    switch (effect.kind) {
      case 'send':
        return transport.send(inbound.source, PROTOCOL, moveMessage.encode(effect.message))
      case 'pull':
        inbound.pull = this.#around.pull(
          effect.images,
          (cost) => this.#destination(inbound, { kind: 'pulling', cost }),
          (outcome) => {
            inbound.pull = undefined
            this.#destination(
              inbound,
              outcome.ok
                ? { kind: 'pulled', cost: outcome.value }
                : { kind: 'failed', failure: outcome.failure },
            )
          },
        )
        return
      case 'prepare': {
        const prepare = (): void =>
          disks.prepare(vm, effect.offer.images, (outcome) => {
            inbound.prepared = outcome.ok
            this.#destination(
              inbound,
              outcome.ok ? { kind: 'prepared' } : { kind: 'failed', failure: outcome.failure },
            )
          })
        // What lies here of the VM is older than the offer and nobody runs it: kept, out of the way.
        if (!disks.has(vm)) return prepare()
        if (vms.grants().some((grant) => grant.vm === vm)) {
          return this.#destination(inbound, {
            kind: 'failed',
            failure: { code: 'BUSY', vm, by: 'an older grant that is being put away' },
          })
        }
        return disks.setAside(vm, `before-${m}`, (outcome) =>
          outcome.ok ? prepare() : this.#destination(inbound, { kind: 'failed', failure: outcome.failure }),
        )
      }
      case 'take':
        return this.#once(inbound.inHand, 'take', (done) => {
          const taken = (): void => {
            done()
            this.look()
          }
          const disksTaken = effect.offer.images
          if (effect.offer.scope === 'mesh')
            agreement.proposeMesh({ kind: 'move-take', m, vm, host: self, disks: disksTaken }, taken)
          else agreement.proposeSite({ kind: 'vm-take', m, vm, host: self, disks: disksTaken }, taken)
        })
      case 'drop':
        inbound.pull?.cancel()
        if (inbound.prepared && !vms.grants().some((grant) => grant.vm === vm)) disks.remove(vm, () => {})
        return
    }
  }

  #lookInbound(inbound: Inbound): void {
    const { destination } = inbound
    const { vms } = this.#around
    const how = this.ended(destination.vm, destination.m)
    if (how !== undefined) this.#destination(inbound, { kind: 'outcome', outcome: how })
    if (destination.phase !== 'taken' || destination.up) return
    const grant = vms.grants().find(({ vm }) => vm === destination.vm)
    if (grant === undefined) return
    if (vms.runs(destination.vm) || grant.wanted === 'stopped')
      this.#destination(inbound, { kind: 'running' })
  }

  /** The mesh's log names this host: it runs on that record alone; its site's log is told. */
  #takeNamed(): void {
    const { agreement, self, site, vms } = this.#around
    for (const move of Object.values(agreement.mesh.state.moves)) {
      if (move.state !== 'taken' || move.host !== self || move.to !== site) continue
      const epoch = nextHome(move.epoch)
      const fresh =
        agreement.site.state.reservations[move.vm]?.m === move.m ||
        this.#in.get(move.m)?.destination.up === false
      const newest = compareEpochs(agreement.mesh.state.homes[move.vm]?.epoch ?? epoch, epoch) === 0
      if (!fresh || !newest) continue
      const { vm, name, spec, disks, wanted } = move
      if (!vms.grants().some((grant) => grant.vm === vm && compareEpochs(grant.epoch, epoch) >= 0)) {
        vms.take({ vm, name, epoch, terms: 'held', spec, disks, wanted, deleting: false, boot: '' })
      }
      this.#adopt(move)
    }
  }

  readonly #adopting = new Set<string>()

  #adopt(move: MeshMove): void {
    const { agreement } = this.#around
    if (
      agreement.site.state.vms[move.vm] !== undefined &&
      agreement.site.state.reservations[move.vm] === undefined
    )
      return
    this.#once(this.#adopting, move.m, (done) => {
      const { m, vm, name, spec, disks, wanted, host } = move
      agreement.proposeSite(
        { kind: 'vm-adopt', m, vm, name, spec, disks, host, wanted, epoch: nextHome(move.epoch) },
        () => done(),
      )
    })
  }

  // Every second --------------------------------------------------------------------------------------------------

  #tick(): void {
    const nowMs = this.#around.clock.nowMs()
    for (const [m, outbound] of this.#out) {
      this.#source(outbound, { kind: 'tick' })
      if (sourceEnded(outbound.source) && !this.#stillMarked(outbound.source)) this.#out.delete(m)
    }
    for (const [m, inbound] of this.#in) {
      this.#destination(inbound, { kind: 'tick' })
      this.#lookInbound(inbound)
      const { phase, vm } = inbound.destination
      const over = phase === 'dropped' || this.#around.agreement.mesh.state.moves[vm]?.m !== m
      if (over && inbound.pull === undefined && this.ended(vm, m) !== undefined && phase !== 'taken')
        this.#in.delete(m)
    }
    this.#takeUp()
    this.#takeNamed()
    this.#tidyReservations(nowMs)
  }

  readonly #stillMarked = ({ vm, m }: Source): boolean =>
    this.#around.agreement.site.state.vms[vm]?.move?.m === m

  /** VMs here that the site's log says are moving: ended ones are written down, others are taken up again. */
  #takeUp(): void {
    const { agreement, self, vms } = this.#around
    for (const vm of Object.values(agreement.site.state.vms)) {
      if (vm.move === undefined || vm.host !== self) continue
      const { m, to, host } = vm.move
      const how = this.ended(vm.id, m)
      const known = this.#out.get(m)
      if (how === 'taken')
        this.#once(this.#adopting, `left ${m}`, (done) =>
          agreement.proposeSite({ kind: 'vm-left', m, vm: vm.id }, () => done()),
        )
      else if (how === 'cancelled' || (known !== undefined && sourceEnded(known.source))) {
        this.#once(this.#adopting, `cancel ${m}`, (done) =>
          agreement.proposeSite(
            { kind: 'vm-move-cancel', m, vm: vm.id, why: this.#around.jobs.get(m)?.error || 'cancelled' },
            () => done(),
          ),
        )
      } else if (known === undefined && vms.grants().some((grant) => grant.vm === vm.id)) {
        const promise = vms.promiseOf(vm.id)
        this.#begin(m, vm, to, host, { images: promise?.m === m ? promise.disks : undefined })
      }
    }
  }

  /** The leader of a site gives room back that no move will use. */
  #tidyReservations(nowMs: number): void {
    const { agreement } = this.#around
    if (agreement.site.role !== 'leader') return
    for (const { vm, m } of Object.values(agreement.site.state.reservations)) {
      const move = agreement.mesh.state.moves[vm]
      const since = this.#reservedSince.get(m) ?? nowMs
      this.#reservedSince.set(m, since)
      const unused = move?.m !== m && nowMs - since > RESERVATION_MS
      if ((move?.m === m && move.state === 'cancelled') || unused) {
        this.#reservedSince.delete(m)
        agreement.proposeSite({ kind: 'unreserve', m, vm }, () => {})
      }
    }
  }

  /** Does `run` unless the same thing is in hand already. */
  #once(inHand: Set<string>, what: string, run: (done: () => void) => void): void {
    if (inHand.has(what) || this.#stopped) return
    inHand.add(what)
    run(() => inHand.delete(what))
  }
}
