/** When the state of a group that this peer decides alone is copied, and when the copy goes: storage/raft-salvage.ts says why. */
import type { Timer } from '../protocols/clock.ts'
import { COPY_MS } from '../protocols/limits.ts'
import { isSoleVoter } from '../protocols/raft/configuration.ts'
import type { Configuration, RaftEffect, Recovered, Snapshot } from '../protocols/raft/types.ts'
import type { LogOwner } from '../storage/raft-log.ts'
import { copyOp, dropCopyOp, endsCopy } from '../storage/raft-salvage.ts'
import type { Op, Store } from '../storage/store.ts'
import type { Timers } from './timers.ts'

const MIB = 1024 ** 2

export type CopyPorts = {
  readonly store: Store
  readonly timers: Timers
  /** How far the state is, and what is in force with it. */
  at(): { readonly index: number; readonly configuration: Configuration }
  /** Undefined when it is too large. */
  capture(): Snapshot | undefined
}

export class Copying {
  readonly #group: string
  readonly #owner: LogOwner
  readonly #ports: CopyPorts
  /** The newest change of configuration in the log: what is not yet applied may name others. */
  #changedAt: number
  /** Of the newest copy of this life. */
  #copied = -1
  /** To the next copy, from the first entry that it holds and this one does not. */
  #waitMs = COPY_MS
  #timer: Timer | undefined

  constructor(group: string, owner: LogOwner, { entries, snapshot }: Recovered, ports: CopyPorts) {
    this.#group = group
    this.#owner = owner
    this.#ports = ports
    this.#changedAt = entries.findLast(({ kind }) => kind === 'configuration')?.index ?? snapshot.index
  }

  /** Something was applied. */
  later(): void {
    if (this.#timer !== undefined || !this.#isDue()) return
    this.#timer = this.#ports.timers.after(this.#waitMs, () => {
      this.#timer = undefined
      this.now()
    })
  }

  now(): void {
    const snapshot = this.#isDue() ? this.#ports.capture() : undefined
    if (snapshot === undefined) return
    this.#copied = snapshot.index
    this.#waitMs = COPY_MS * Math.max(1, Math.ceil(snapshot.data.length / MIB))
    // It rides along with the next fsync: an older copy, or none, is no worse than a damaged log.
    this.#ports.store.write([copyOp(this.#group, this.#owner, snapshot)], false, () => {})
  }

  /** What goes into the batch of a write of the log. */
  dropped(effect: RaftEffect & { kind: 'store' }): Op[] {
    if (!endsCopy(effect)) return []
    const changes = effect.entries.filter(({ kind }) => kind === 'configuration')
    this.#changedAt = Math.max(effect.snapshot?.index ?? 0, ...changes.map(({ index }) => index))
    this.#copied = -1
    // Until there is one again, a damaged log of this peer alone would be taken for one of several.
    this.#waitMs = 0
    this.#timer?.cancel()
    this.#timer = undefined
    return [dropCopyOp(this.#group)]
  }

  #isDue(): boolean {
    const { index, configuration } = this.#ports.at()
    const isAlone = isSoleVoter(configuration, this.#owner.member)
    return isAlone && index >= this.#changedAt && index > this.#copied
  }
}
