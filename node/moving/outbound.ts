/** A move out of this host: performs what migration/move/source.ts decides, and shows it as a job. */
import { describeFailure, type Failure } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { message as moveMessage, PROTOCOL } from '../../protocols/move/messages.ts'
import { type Done, failed } from '../../protocols/outcome.ts'
import {
  holdsGuest,
  type Source,
  type SourceEffect,
  sourceEnded,
  type SourceEvent,
  startSource,
  stepSource,
} from '../../migration/move/source.ts'
import type { CapturedDisk } from '../hypervisor.ts'
import { peersOfSite } from '../catalog/mesh.ts'
import { generationOf } from '../catalog/recovery.ts'
import type { SiteVm } from '../catalog/site.ts'
import { type Around, endOf, InHand, raised } from './around.ts'
import type { ReserveParams } from './reservations.ts'

/** A move that gets nowhere for this long is withdrawn: longer than a link mostly stays away, shorter than people forget. */
const PATIENCE_MS = 30 * 60_000

type Step = 'reserve' | 'intend' | 'mark'

export class Outbound {
  readonly source: Source
  readonly #around: Around
  readonly #to: string
  readonly #inHand = new InHand()
  /** Empty until the destination's site has chosen one. */
  #host: PeerId
  /** Generation of the owning group in which this host promised; before that nobody can have taken the VM. */
  #promisedIn: number | undefined
  /** An operator said that the destination is gone for good. */
  #forced = false
  /** The owning log cannot tell, after a recovery, whether the destination took it. */
  #uncertain = false

  /** `recovered`: the log says that it is under way; with `images` when this host has made its promise. */
  constructor(
    around: Around,
    m: string,
    vm: SiteVm,
    to: { site: string; host: PeerId },
    recovered?: { readonly images: readonly { image: string; bytes: number }[] | undefined },
  ) {
    const nowMs = around.clock.nowMs()
    this.#around = around
    this.#to = to.site
    this.#host = to.host
    const { id, name, epoch, spec, wanted, disks } = vm
    const scope = to.site === around.site ? 'site' : 'mesh'
    const terms = { m, vm: id, name, scope, from: around.site, epoch, spec, wanted, base: disks } as const
    this.source = startSource({ ...terms, patienceMs: PATIENCE_MS, nowMs }, recovered)
    // Promised by an earlier life, in a generation that nobody knows any more.
    if (recovered?.images !== undefined) this.#promisedIn = 0
    around.jobs.begin(m, 'move', name, () => this.feed({ kind: 'cancel', why: 'cancelled by the operator' }))
  }

  /** The guest is in its hands: nobody else starts or stops it. */
  get holds(): boolean {
    return holdsGuest(this.source)
  }

  get ended(): boolean {
    return sourceEnded(this.source)
  }

  feed(event: SourceEvent): void {
    if (this.ended) return
    this.source.nowMs = this.#around.clock.nowMs()
    const effects = stepSource(this.source, event)
    this.#report()
    for (const effect of effects) this.#perform(effect)
  }

  /** Cancelled, though the destination may have taken the VM: it is said never to run again. */
  force(): void {
    this.#forced = true
    this.feed({ kind: 'cancel', why: 'cancelled by the operator, by force' })
    if (this.source.phase === 'cancelling') this.#cancel()
  }

  hear(from: PeerId, event: SourceEvent): void {
    if (from === this.#host) this.feed(event)
  }

  /** What is agreed on has changed: the outcome may be known. */
  look(): void {
    const { vm, m } = this.source
    const outcome = endOf(this.#around, vm, m)
    if (outcome === undefined) return
    const { mesh, site } = this.#around.agreement
    const why = mesh.state.moves[vm]?.why || site.state.vms[vm]?.ended?.why || ''
    this.feed({ kind: 'outcome', outcome, why })
  }

  #perform(effect: SourceEffect): void {
    const { vms, agreement, transport } = this.#around
    const { vm, m, why } = this.source
    switch (effect.kind) {
      case 'propose': {
        const { step } = effect
        if (step === 'cancel') return this.#cancel()
        return this.#once(step, (done) =>
          this.#step(step, (outcome) => {
            done()
            this.feed(
              outcome.ok ? { kind: 'agreed', step } : { kind: 'refused', step, failure: outcome.failure },
            )
          }),
        )
      }
      case 'send':
        if (this.#host !== '') transport.send(this.#host, PROTOCOL, moveMessage.encode(effect.message))
        return
      case 'guest':
        if (effect.action === 'stop')
          return this.#guest(
            'stop',
            (done) => vms.stopForMove(vm, done),
            () => ({ kind: 'stopped' }),
          )
        return this.#guest<CapturedDisk[]>(
          'capture',
          (done) => vms.capture(vm, done),
          (images) => ({ kind: 'captured', images: images.map(({ image, bytes }) => ({ image, bytes })) }),
        )
      case 'promise':
        this.#promisedIn ??= this.#generation()
        return this.#guest(
          'promise',
          (done) => vms.promise(vm, m, effect.images, done),
          () => ({ kind: 'promised' }),
        )
      case 'resume':
        agreement.proposeSite(
          raised(this.#around, vm) ?? {
            kind: 'vm-move-cancel',
            m,
            vm,
            epoch: this.source.epoch,
            why: why || 'cancelled',
            ...this.#begun(),
          },
          () => vms.reconcile(),
        )
        return
      case 'release':
        return vms.reconcile()
    }
  }

  /** Something with the guest that takes its time; busy means that the next tick asks again. */
  #guest<T>(name: string, run: (done: Done<T>) => void, event: (value: T) => SourceEvent): void {
    this.#once(name, (done) =>
      run((outcome) => {
        done()
        if (outcome.ok) this.feed(event(outcome.value))
        else if (outcome.failure.code !== 'BUSY') this.feed({ kind: 'failed', failure: outcome.failure })
      }),
    )
  }

  #step(step: Step, done: Done<unknown>): void {
    const { agreement, asking, self } = this.#around
    const { m, vm, name, spec, epoch, wanted, from, base } = this.source
    const host = this.#host
    const to = this.#to
    if (step === 'intend') {
      const intent = { m, vm, name, from, to, source: self, host, epoch, spec, wanted }
      return agreement.proposeMesh({ kind: 'move-intend', ...intent }, done)
    }
    if (step === 'mark')
      return agreement.proposeSite({ kind: 'vm-move', m, vm, to, host, epoch, wanted }, done)
    const peer = this.#peerThere()
    if (peer === undefined) {
      return done(failed({ code: 'MOVE_REFUSED', vm: name, why: 'no peer of that site is in sight' }))
    }
    const bytes = base.reduce((sum, disk) => sum + disk.bytes, 0)
    const params: ReserveParams = { m, vm, name, spec, host: host === '' ? null : host, epoch, bytes }
    asking.there(peer, 'move.reserve', params, (outcome) => {
      if (outcome.ok) this.#host = (outcome.value as { host: PeerId }).host
      done(outcome)
    })
  }

  /** A peer of the destination to ask: the one that was named when it is in sight, else the first that is. */
  #peerThere(): PeerId | undefined {
    const { transport, agreement } = this.#around
    const connected = new Set(transport.connected())
    const peers = peersOfSite(agreement.mesh.state, this.#to)
    return peers.find((id) => id === this.#host && connected.has(id)) ?? peers.find((id) => connected.has(id))
  }

  /** Withdraws m in the owning log, whose answer is the verdict; no answer means that the next tick asks again. */
  #cancel(): void {
    const { agreement } = this.#around
    const { m, vm, epoch, scope, failure } = this.source
    const why = failure === undefined ? 'cancelled' : describeFailure(failure).slice(0, 300)
    this.#once('cancel', (done) => {
      const settle: Done<unknown> = (outcome) => {
        done()
        if (outcome.ok) this.feed({ kind: 'outcome', outcome: 'cancelled', why })
        else this.#uncertain = outcome.failure.code === 'UNCERTAIN'
        if (!outcome.ok && outcome.failure.code === 'MOVE_TAKEN')
          this.feed({ kind: 'outcome', outcome: 'taken', why: '' })
      }
      const terms = { m, vm, epoch, why, ...this.#begun(), ...(this.#forced && { force: true }) }
      if (scope === 'mesh') agreement.proposeMesh({ kind: 'move-cancel', ...terms }, settle)
      else agreement.proposeSite({ kind: 'vm-move-cancel', ...terms }, settle)
    })
  }

  /** Of the group whose log decides. */
  #generation(): number {
    const { mesh, site } = this.#around.agreement
    return generationOf(this.source.scope === 'mesh' ? mesh.state : site.state)
  }

  #begun(): { begun: number } {
    return { begun: this.#promisedIn ?? this.#generation() }
  }

  #report(): void {
    const { jobs } = this.#around
    const { source } = this
    const { m, name, phase, remote, cost, images, base, failure, why, standstillMs } = source
    const disks = images.length > 0 ? images : base
    const figures = {
      phase: phaseShown(phase, remote, this.#uncertain),
      doneBytes: cost.doneBytes,
      totalBytes: cost.totalBytes,
      sources: cost.sources,
      logicalBytes: disks.reduce((sum, { bytes }) => sum + bytes, 0),
      dedupBytes: cost.dedupBytes,
      compressedBytes: cost.compressedBytes,
      wireBytes: cost.wireBytes,
      standstillMs: standstillMs > 0 ? Math.round(standstillMs) : null,
    }
    if (!this.ended) return jobs.progress(m, figures)
    const end: Failure | undefined =
      phase === 'done' ? undefined : (failure ?? { code: 'MOVE_CANCELLED', vm: name, why })
    jobs.end(m, end, { ...figures, result: { host: this.#host, vm: source.vm } })
  }

  #once(name: string, run: (done: () => void) => void): void {
    this.#inHand.once(name, run)
  }
}

/** What the other half says of itself, while it is its turn. */
function phaseShown(phase: Source['phase'], remote: string, uncertain: boolean): string {
  if (phase === 'cancelling' && uncertain) return 'uncertain'
  return (phase === 'seeding' || phase === 'offering') && remote !== '' ? remote : phase
}
