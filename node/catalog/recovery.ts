/**
 * What a group has to learn anew after `raft recover` (DESIGN section 3, Loss). Its log may lack the last entries that
 * were agreed on: VMs that were placed, moves that were taken. Nothing of it ends a grant, so:
 *
 *   recovered ──every host known then: unheard──▶ a host presents each grant it holds, then says that these were all
 *             ──▶ heard; the highest epoch wins; who stays silent keeps what the record gives it
 *
 * Invariant: a move that began before the recovery is cancelled only when its destination is known not to have taken it.
 * A lost take ran the VM there; its source, told that the move is cancelled, would run it a second time.
 */
import type { PeerId } from '../../protocols/ids.ts'
import { LINEAGE_MAX, MEMBER_ID_LENGTH_MAX, PEERS_MAX } from '../../protocols/limits.ts'
import { boolean, dictionary, integer, list, type Of, optional, record, text } from '../../protocols/shape.ts'

export const generation = integer(0, 2 ** 40)

/** Who began one; empty when a host's own records rebuilt it. */
export const member = text(MEMBER_ID_LENGTH_MAX, 0)
/** Generations that one takes the place of, oldest first. */
export const lineage = list(generation, LINEAGE_MAX)

const recoveryShape = record({
  generation,
  by: optional(member),
  before: optional(lineage),
  /** Hosts that have not said yet, in this generation, what they hold: those that were removed, too. */
  unheard: dictionary(boolean, 2 * PEERS_MAX),
})
export type Recovery = Of<typeof recoveryShape>

/** Absent in a group that was never recovered. */
export const recovery = optional(recoveryShape)

type Recovering = { readonly recovery?: Recovery | undefined }

export const generationOf = ({ recovery: found }: Recovering): number => found?.generation ?? 0

/** Whether a host has still to say what it holds. */
export const isUnheard = ({ recovery: found }: Recovering, host: PeerId): boolean =>
  found?.unheard[host] === true

/** A host has presented everything in this generation. */
export function heard({ recovery: found }: Recovering, host: PeerId, in_: number): void {
  if (found?.generation === in_) delete found.unheard[host]
}

/**
 * Whether it cannot be known that a move was not taken. `begun`: the generation in which its source began it; `host`: its
 * destination when the record still names it.
 */
export function isUncertain(state: Recovering, begun: number, host: PeerId | undefined): boolean {
  if (begun >= generationOf(state)) return false
  return host === undefined || isUnheard(state, host)
}

/**
 * A group that begins a generation: everybody it knows is asked, and who was still silent in the one `before`, removed or not.
 * `by`: the member that begins it; `over`: a generation that it is to take the place of besides (generations.ts).
 */
export const recovered = (
  next: number,
  hosts: readonly PeerId[],
  before?: Recovery,
  { by = '', over = 0 }: { readonly by?: string; readonly over?: number } = {},
): Recovery => ({
  generation: next,
  by,
  before: [...new Set([...(before?.before ?? []), before?.generation ?? 0, over])].slice(-LINEAGE_MAX),
  unheard: { ...before?.unheard, ...Object.fromEntries(hosts.map((host) => [host, true])) },
})
