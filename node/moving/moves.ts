/**
 * The moves that this host takes part in. What a move must survive stands in the logs: at start, and whenever nobody has
 * a move in hand that the site's log says is under way here, it is taken up again.
 */
import { compareEpochs } from '../../protocols/epoch.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { message as moveMessage, type Message, PROTOCOL } from '../../protocols/move/messages.ts'
import { type MeshMove, takenEpoch } from '../catalog/mesh.ts'
import { generationOf } from '../catalog/recovery.ts'
import type { SiteVm } from '../catalog/site.ts'
import { type Around, endOf, InHand, raised } from './around.ts'
import { Inbound } from './inbound.ts'
import { Outbound } from './outbound.ts'
import { Reservations } from './reservations.ts'

/** What was said and got no answer is said again this often. */
const TICK_MS = 1_000

export class Moves {
  readonly reservations: Reservations
  readonly #around: Around
  readonly #out = new Map<string, Outbound>()
  readonly #in = new Map<string, Inbound>()
  readonly #inHand = new InHand()
  readonly #preparing = new InHand()
  #stopped = false

  constructor(around: Around) {
    this.#around = around
    this.reservations = new Reservations(around)
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
    for (const inbound of this.#in.values()) inbound.stop()
  }

  /** Begins a move of a VM that is placed here. `host` undefined: the destination's site chooses. */
  begin(m: string, vm: SiteVm, site: string, host: PeerId | undefined): void {
    this.#begin(new Outbound(this.#around, m, vm, { site, host: host ?? '' }))
  }

  /** Something agreed on, or a guest, has changed: outcomes may be known. */
  look(): void {
    if (this.#stopped) return
    for (const outbound of this.#out.values()) outbound.look()
    for (const inbound of this.#in.values()) inbound.look()
    this.#takeNamed()
  }

  /** A move has the guest in its hands. */
  holds(vm: string): boolean {
    for (const outbound of this.#out.values()) if (outbound.source.vm === vm && outbound.holds) return true
    return false
  }

  /** The move that takes the VM away from here, while it does. */
  inHand(vm: string): string | undefined {
    for (const [m, { ended, source }] of this.#out) if (source.vm === vm && !ended) return m
    return undefined
  }

  /** The move of a VM that this host has begun to cancel, cut off as it may be: the guest is in nobody's hands. */
  cancelling(vm: string): string | undefined {
    const m = this.inHand(vm)
    return m !== undefined && this.#out.get(m)?.source.phase === 'cancelling' ? m : undefined
  }

  /** What moves under way here refer to; undefined where the other end, or the guest's last word, has yet to say it. */
  images(): { readonly name: string; readonly images: readonly string[] | undefined }[] {
    const { agreement, self } = this.#around
    const out = [...this.#out.values()]
      .filter(({ ended }) => !ended)
      .map(({ source }) => {
        const { name, base, images, phase } = source
        return {
          name,
          images: phase === 'capturing' ? undefined : [...base, ...images].map(({ image }) => image),
        }
      })
    const inbound = [...this.#in].filter(([, { over }]) => !over)
    const known = new Set(inbound.map(([m]) => m))
    const to = [
      ...Object.values(agreement.site.state.vms).flatMap(({ name, move }) =>
        move === undefined ? [] : [{ name, ...move }],
      ),
      ...Object.values(agreement.mesh.state.moves).filter(({ state }) => state === 'intended'),
    ]
    const unheard = to
      .filter(({ m, host }) => host === self && !known.has(m))
      .map(({ name }) => ({ name, images: undefined }))
    return [
      ...out,
      ...unheard,
      ...inbound.map(([, { destination, images }]) => ({ name: destination.vm, images })),
    ]
  }

  ended(vm: string, m: string): 'taken' | 'cancelled' | undefined {
    return endOf(this.#around, vm, m)
  }

  #begin(outbound: Outbound): void {
    this.#out.set(outbound.source.m, outbound)
    outbound.feed({ kind: 'start' })
  }

  #hear(from: PeerId, message: Message): void {
    if (message.kind !== 'seed' && message.kind !== 'offer') {
      return this.#out.get(message.m)?.hear(from, { kind: 'message', message })
    }
    let inbound = this.#in.get(message.m)
    if (inbound === undefined) {
      if (this.ended(message.vm, message.m) === 'cancelled') return
      inbound = new Inbound(this.#around, this.#preparing, from, message)
      this.#in.set(message.m, inbound)
    }
    inbound.feed({ kind: 'message', message })
    inbound.look()
  }

  #tick(): void {
    for (const [m, outbound] of this.#out) {
      outbound.feed({ kind: 'tick' })
      const marked = this.#around.agreement.site.state.vms[outbound.source.vm]?.move?.m === m
      if (outbound.ended && !marked) this.#out.delete(m)
    }
    for (const [m, inbound] of this.#in) {
      inbound.feed({ kind: 'tick' })
      inbound.look()
      const { vm } = inbound.destination
      // A refused one is remembered until its cancel is agreed on, so that it does not begin anew; of a taken one the
      // grant says all that its source may ask.
      if (inbound.over && this.ended(vm, m) !== undefined) this.#in.delete(m)
    }
    this.#takeUp()
    this.#withdraw()
    this.#takeNamed()
    this.#forget()
    this.reservations.tick(this.#around.clock.nowMs())
  }

  /** VMs here that the site's log says are moving: ended ones are written down, others are taken up again. */
  #takeUp(): void {
    const { agreement, jobs, self, vms } = this.#around
    for (const vm of Object.values(agreement.site.state.vms)) {
      if (vm.host !== self) continue
      const { id } = vm
      const raise = raised(this.#around, id)
      if (raise !== undefined) this.#once(`raise ${id}`, (done) => agreement.proposeSite(raise, done))
      if (vm.move === undefined || raise !== undefined) continue
      const { m, to, host } = vm.move
      const how = this.ended(id, m)
      const known = this.#out.get(m)
      if (how === 'taken') {
        this.#once(`left ${m}`, (done) => agreement.proposeSite({ kind: 'vm-left', m, vm: id }, done))
      } else if (how === 'cancelled' || known?.source.phase === 'cancelled') {
        // Never for one that is done: the answer that it was taken comes from the leader, and this copy of its log may be behind.
        const why = (jobs.get(m)?.error || 'cancelled').slice(0, 300)
        const begun = this.#begun(id, m, generationOf(agreement.site.state))
        const cancel = { kind: 'vm-move-cancel', m, vm: id, epoch: vm.epoch, why, begun } as const
        this.#once(`cancel ${m}`, (done) => agreement.proposeSite(cancel, done))
      } else if (known === undefined && vms.grantOf(id) !== undefined) {
        const promise = vms.promiseOf(id)
        const images = promise?.m === m ? promise.disks : undefined
        this.#begin(new Outbound(this.#around, m, vm, { site: to, host }, { images }))
      }
    }
  }

  /** An operator's word that the destination of a move of this host is gone for good. @returns Whether there is such a move. */
  force(m: string): boolean {
    const known = this.#out.get(m)
    if (known !== undefined) {
      known.force()
      return true
    }
    const { agreement, self } = this.#around
    const move = Object.values(agreement.mesh.state.moves).find(
      (each) => each.m === m && each.source === self,
    )
    if (move?.state !== 'intended') return false
    const { vm, epoch } = move
    const begun = this.#begun(vm, m, generationOf(agreement.mesh.state))
    const cancel = { kind: 'move-cancel', m, vm, epoch, why: 'by force', begun, force: true } as const
    this.#once(`withdraw ${m}`, (done) => agreement.proposeMesh(cancel, done))
    return true
  }

  /** Intents of this host that no move stands behind any more: it was killed before its mark, or they came too late. */
  #withdraw(): void {
    const { agreement, self } = this.#around
    for (const { m, vm, source, state, epoch } of Object.values(agreement.mesh.state.moves)) {
      if (state !== 'intended' || source !== self || this.#out.get(m)?.ended === false) continue
      if (agreement.site.state.vms[vm]?.move?.m === m) continue
      const begun = this.#begun(vm, m, generationOf(agreement.mesh.state))
      const cancel = { kind: 'move-cancel', m, vm, epoch, why: 'its source was restarted', begun } as const
      this.#once(`withdraw ${m}`, (done) => agreement.proposeMesh(cancel, done))
    }
  }

  /** A move that this host never promised has been taken by nobody, whatever logs were lost. */
  #begun(vm: string, m: string, current: number): number {
    return this.#around.vms.promiseOf(vm)?.m === m ? 0 : current
  }

  /** The mesh's log names this host: it runs on that record alone; its site's log is told. */
  #takeNamed(): void {
    const { agreement, self, site, vms } = this.#around
    for (const move of Object.values(agreement.mesh.state.moves)) {
      if (move.state !== 'taken' || move.host !== self || move.to !== site) continue
      const { vm, name, spec, disks, wanted } = move
      const epoch = takenEpoch(move)
      const here = agreement.site.state.vms[vm]
      // The site's log has it, or this host gave it up since: then that is what counts.
      if (vms.gaveUp(vm, epoch) || (here !== undefined && compareEpochs(here.epoch, epoch) >= 0)) continue
      if (compareEpochs(agreement.mesh.state.homes[vm]?.epoch ?? epoch, epoch) !== 0) continue
      const held = vms.grantOf(vm)
      if (held === undefined || compareEpochs(held.epoch, epoch) < 0) {
        vms.take({ vm, name, epoch, terms: 'held', spec, disks, wanted, deleting: false, boot: '' })
      }
      this.#adopt(move)
    }
  }

  /** At the site's leader: the mesh keeps no hand-over of a VM that was deleted here. */
  #forget(): void {
    const { agreement } = this.#around
    if (agreement.site.role !== 'leader') return
    for (const { vm, epoch } of agreement.site.state.tombstones ?? []) {
      const move = agreement.mesh.state.moves[vm]
      if (move === undefined || move.state === 'intended') continue
      this.#once(`forget ${vm}`, (done) => agreement.proposeMesh({ kind: 'vm-deleted', vm, epoch }, done))
    }
  }

  #adopt(move: MeshMove): void {
    const { m, vm, name, spec, disks, wanted, host } = move
    const adoption = { m, vm, name, spec, disks, host, wanted, epoch: takenEpoch(move) }
    this.#once(`adopt ${m}`, (done) =>
      this.#around.agreement.proposeSite({ kind: 'vm-adopt', ...adoption }, done),
    )
  }

  #once(name: string, run: (done: () => void) => void): void {
    if (!this.#stopped) this.#inHand.once(name, run)
  }
}
