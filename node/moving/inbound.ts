/** A move to this host: performs what migration/move/destination.ts decides. */
import type { Failure } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { message as moveMessage, type Message, PROTOCOL } from '../../protocols/move/messages.ts'
import type { Done } from '../../protocols/outcome.ts'
import {
  type Destination,
  type DestinationEffect,
  type DestinationEvent,
  type Offer,
  startDestination,
  stepDestination,
} from '../../migration/move/destination.ts'
import { type Around, endOf, InHand } from './around.ts'

export class Inbound {
  readonly destination: Destination
  readonly #around: Around
  readonly #inHand = new InHand()
  readonly #source: PeerId
  readonly #seeds: readonly { readonly image: string }[]
  #pull: { cancel(): void } | undefined
  readonly #preparing: InHand
  /** Disks were made here by this move. */
  #prepared = false

  /** `preparing` is shared by the moves of this host: one VM's disks are made by one move at a time. */
  constructor(
    around: Around,
    preparing: InHand,
    source: PeerId,
    message: Message & { kind: 'seed' | 'offer' },
  ) {
    this.#around = around
    this.#preparing = preparing
    this.#seeds = message.images
    this.#source = source
    this.destination = startDestination(message)
    // Taken in an earlier life of this peer: what is asked now is answered from the grant.
    if (endOf(around, message.vm, message.m) === 'taken') this.destination.phase = 'taken'
  }

  /** What it has been asked to have here. */
  get images(): readonly string[] {
    return [...this.#seeds, ...(this.destination.offer?.images ?? [])].map(({ image }) => image)
  }

  /** Nothing of it is left to be done here. */
  get over(): boolean {
    const { phase, up } = this.destination
    return up || (phase === 'dropped' && this.#pull === undefined)
  }

  feed(event: DestinationEvent): void {
    for (const effect of stepDestination(this.destination, event)) this.#perform(effect)
  }

  /** What is agreed on, or the guest, has changed. */
  look(): void {
    const { vm, m } = this.destination
    const { vms } = this.#around
    const outcome = endOf(this.#around, vm, m)
    if (outcome !== undefined) this.feed({ kind: 'outcome', outcome })
    if (this.destination.phase !== 'taken' || this.destination.up) return
    const grant = vms.grantOf(vm)
    if (grant !== undefined && (vms.runs(vm) || grant.wanted === 'stopped')) this.feed({ kind: 'running' })
  }

  stop(): void {
    this.#pull?.cancel()
  }

  #perform(effect: DestinationEffect): void {
    const { agreement, transport, self, disks, vms, pull } = this.#around
    const { m, vm } = this.destination
    switch (effect.kind) {
      case 'send':
        return transport.send(this.#source, PROTOCOL, moveMessage.encode(effect.message))
      case 'pull':
        this.#pull = pull(
          effect.images,
          [this.#source],
          (cost) => this.feed({ kind: 'pulling', cost }),
          (outcome) => {
            this.#pull = undefined
            this.feed(
              outcome.ok
                ? { kind: 'pulled', cost: outcome.value }
                : { kind: 'failed', failure: outcome.failure },
            )
          },
        )
        return
      case 'prepare':
        return this.#prepare(effect.offer)
      case 'take':
        return this.#inHand.once('take', (done) => {
          const { images, scope } = effect.offer
          const settle: Done<unknown> = (outcome) => {
            done()
            // Over, by the log's own word. Taken is believed from this host's copy alone: the grant is made from it.
            const over =
              !outcome.ok && ['MOVE_CANCELLED', 'NOT_GRANTED', 'NOT_FOUND'].includes(outcome.failure.code)
            if (over) this.feed({ kind: 'outcome', outcome: 'cancelled' })
            this.look()
          }
          if (scope === 'mesh')
            agreement.proposeMesh({ kind: 'move-take', m, vm, host: self, disks: images }, settle)
          else agreement.proposeSite({ kind: 'vm-take', m, vm, host: self, disks: images }, settle)
        })
      case 'drop':
        this.#pull?.cancel()
        if (this.#prepared && vms.grantOf(vm) === undefined) disks.remove(vm, () => {})
        return
    }
  }

  /**
   * What lies here of the VM is older than the offer, and nobody runs it: it is kept, out of the way. Disks that come
   * after the move is over are removed before another move may make its own: they would be taken for those.
   */
  #prepare(offer: Offer): void {
    const { disks, vms } = this.#around
    const { vm, m } = this.destination
    this.#preparing.once(vm, (done) => {
      if (vms.grantOf(vm) !== undefined) return done() // It is being put away: the next tick asks again.
      const end = (failure?: Failure): void => {
        done()
        this.feed(failure === undefined ? { kind: 'prepared' } : { kind: 'failed', failure })
      }
      const prepare = (): void =>
        disks.prepare(vm, offer.images, (outcome) => {
          if (!outcome.ok) return end(outcome.failure)
          if (this.destination.phase !== 'preparing') return disks.remove(vm, done)
          this.#prepared = true
          end()
        })
      if (!disks.has(vm)) return prepare()
      // Older than the offer, as it may be, nobody can say what else has its content.
      const terms = { atMs: this.#around.clock.wallMs(), content: [] }
      disks.setAside(vm, `before-${m}`, terms, (outcome) => (outcome.ok ? prepare() : end(outcome.failure)))
    })
  }
}
