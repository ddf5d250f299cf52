/** When the state of a group that this peer decides alone is copied, and when the copy goes: storage/raft-salvage.ts says why. */
import { COPY_MS } from '../protocols/limits.ts'
import { isSoleVoter } from '../protocols/raft/configuration.ts'
import type { Configuration, RaftEffect, Recovered, Snapshot } from '../protocols/raft/types.ts'
import type { LogOwner } from '../storage/raft-log.ts'
import { copyOp, dropCopyOp, endsCopy } from '../storage/raft-salvage.ts'
import type { Op } from '../storage/store.ts'

const MIB = 1024 ** 2

export class Copying {
  readonly #group: string
  readonly #owner: LogOwner
  /** The newest change of configuration in the log: what is not yet applied may name others. */
  #changedAt: number
  /** Of the newest copy of this life. */
  #copied = -1
  /** To the next copy, from the first entry that it holds and this one does not. */
  waitMs = COPY_MS

  constructor(group: string, owner: LogOwner, { entries, snapshot }: Recovered) {
    this.#group = group
    this.#owner = owner
    this.#changedAt = entries.findLast(({ kind }) => kind === 'configuration')?.index ?? snapshot.index
  }

  isDue(index: number, configuration: Configuration): boolean {
    const isAlone = isSoleVoter(configuration, this.#owner.member)
    return isAlone && index >= this.#changedAt && index > this.#copied
  }

  /** `snapshot` is of now. */
  copied(snapshot: Snapshot): Op {
    this.#copied = snapshot.index
    this.waitMs = COPY_MS * Math.max(1, Math.ceil(snapshot.data.length / MIB))
    return copyOp(this.#group, this.#owner, snapshot)
  }

  /** What goes into the batch of a write of the log. */
  dropped(effect: RaftEffect & { kind: 'store' }): Op[] {
    if (!endsCopy(effect)) return []
    const changes = effect.entries.filter(({ kind }) => kind === 'configuration')
    this.#changedAt = Math.max(effect.snapshot?.index ?? 0, ...changes.map(({ index }) => index))
    this.#copied = -1
    // Until there is one again, a damaged log of this peer alone would be taken for one of several.
    this.waitMs = 0
    return [dropCopyOp(this.#group)]
  }
}
