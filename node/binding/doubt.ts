/**
 * What a peer that was replaced may believe of its folder. Grants, promises and logs in it are as old as the folder: a
 * VM may have moved away, or been deleted, since. Its logs were put aside, so that it votes as nobody it was before; and:
 *
 *   unheard ──a position of each group, as its leader had it after the replacement, is applied here──▶ heard
 *   doubted (a VM whose grant came with the folder) ──the site's log places it here under that very epoch──▶ confirmed
 *
 *   - unheard: nothing is started, stopped, adopted or moved. Guests that run, run on.
 *   - heard: agreed records count again, and end what they end. No older state of a log counts, in any later life either: it
 *     may place a VM here that this host has given up, in a promise that the folder has forgotten. `floors` keeps that.
 *   - doubted: not started, and not presented to a group that was recovered; else as every grant. So is, once heard, every
 *     VM here of which a move is under way: its offer may be out, made under a promise that the folder has forgotten.
 */
import type { Done } from '../../protocols/outcome.ts'
import {
  doubtedIn,
  doubtOp,
  noDoubtOp,
  type Replaced,
  replacedIn,
  replacedOp,
} from '../../storage/records.ts'
import type { Store } from '../../storage/store.ts'

type Which = 'mesh' | 'site'

export type Around = {
  /** How far this peer's copy of a group is applied. */
  applied(group: Which): number
  /** A position that holds all that the group had agreed on before the question. */
  read(group: Which, done: Done<number>): void
  /**
   * The site's log places the VM here under the epoch of this host's grant, and no move of it is under way; or it does not
   * place it here, and this host holds no grant for it.
   */
  isCurrent(vm: string): boolean
  /** VMs that the site's log places here while a move of theirs is under way. */
  moving(): string[]
  /** Something may be done that might not before. */
  changed(): void
}

export class Doubt {
  readonly #store: Store
  readonly #around: Around
  #replaced: Replaced | undefined
  readonly #vms: Set<string>
  readonly #reading = new Set<Which | 'moves'>()

  constructor(store: Store, around: Around) {
    this.#store = store
    this.#around = around
    this.#replaced = replacedIn(store)
    this.#vms = new Set(doubtedIn(store))
  }

  /** Why nothing is begun or ended for any VM yet. */
  unheard(): string | undefined {
    const group = this.#unheardGroup() ?? (this.#replaced?.moves === 'unknown' ? 'site' : undefined)
    return group && `this peer was replaced, and has not heard the ${group}'s group since`
  }

  /** Why that VM is not started. */
  of(vm: string): string | undefined {
    if (!this.#vms.has(vm)) return undefined
    return 'its grant came with a data folder that was replaced, and no log has confirmed it since'
  }

  /** Called again and again. */
  look(): void {
    const floors = this.#replaced?.floors
    if (floors === undefined) return
    for (const group of ['mesh', 'site'] as const) if (floors[group] === 0) this.#read(group)
    // A leader may have answered at once.
    const replaced = this.#replaced
    if (replaced === undefined || this.#unheardGroup() !== undefined) return
    if (replaced.moves !== 'doubted') return this.#doubtMoves(replaced)
    const confirmed = [...this.#vms].filter((vm) => this.#around.isCurrent(vm))
    if (confirmed.length === 0) return
    for (const vm of confirmed) this.#vms.delete(vm)
    // Lost with a crash they are doubted, and confirmed, once more.
    this.#store.write(confirmed.map(noDoubtOp), false, () => {})
    this.#around.changed()
  }

  /** Before anything is begun: what is known now is all that this peer can have offered before it was replaced. */
  #doubtMoves(replaced: Replaced): void {
    if (this.#reading.has('moves')) return
    this.#reading.add('moves')
    const moving = this.#around.moving()
    const next = { ...replaced, moves: 'doubted' as const }
    this.#store.write([replacedOp(next), ...moving.map(doubtOp)], true, (outcome) => {
      this.#reading.delete('moves')
      if (!outcome.ok) return
      for (const vm of moving) this.#vms.add(vm)
      this.#replaced = next
      this.#around.changed()
    })
  }

  #unheardGroup(): Which | undefined {
    const floors = this.#replaced?.floors
    if (floors === undefined) return undefined
    const groups = ['site', 'mesh'] as const
    return groups.find((group) => floors[group] === 0 || this.#around.applied(group) < floors[group])
  }

  #read(group: Which): void {
    if (this.#reading.has(group)) return
    this.#reading.add(group)
    this.#around.read(group, (outcome) => {
      this.#reading.delete(group)
      const replaced = this.#replaced
      if (!outcome.ok || replaced === undefined) return
      const next = { ...replaced, floors: { ...replaced.floors, [group]: Math.max(1, outcome.value) } }
      this.#replaced = next
      // Before anything is taken from a log: a life that knew less would take it from an older state.
      this.#store.write([replacedOp(next)], true, () => this.#around.changed())
    })
  }
}
