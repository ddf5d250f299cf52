/**
 * Which generation of a site's group counts, when it was recovered more than once (DESIGN section 3, Loss). The mesh's log
 * registers one successor: the first that is said there. Two operators who recover the same log on two hosts that do not see
 * each other make two groups, each with a leader; what both grant is told apart by their epochs, and nothing of either ends a
 * grant. This says to which of the two everybody goes when they see each other again.
 *
 *   (none) ──a site's leader says its generation──▶ registered ──one begun with knowledge of it──▶ that one registered
 *                                                       └── any other: a rival, named and kept for people
 *
 *   a rival's members   put their log aside when they hear the registered one, and present their grants to it
 *   all others          never take a rival's log for a newer one, whatever its number
 *
 * Generations are compared by number only as far as the mesh has nothing to say, which is what a site that is cut off goes by.
 * Begun with knowledge: `raft recover` reads what this peer's copy of the mesh's log registers, and what the log that it
 * begins from was begun from; so recovering a second time, on purpose, is no rivalry.
 */
import { partsOf, printGeneration } from '../../protocols/epoch.ts'
import { siteId } from '../../protocols/ids.ts'
import { RIVALS_MAX, SITES_MAX } from '../../protocols/limits.ts'
import { failed, ok, type Outcome } from '../../protocols/outcome.ts'
import { dictionary, list, type Of, optional, record, text } from '../../protocols/shape.ts'
import { generation, lineage, member } from './recovery.ts'

/** `member`: who recovered it; empty when a host's own records rebuilt it. */
const begun = { generation, member }
const registeredShape = record({ ...begun, rivals: list(record(begun), RIVALS_MAX) })
export type Registered = Of<typeof registeredShape>

/** By site; absent where no group was recovered. */
export const generations = optional(dictionary(registeredShape, SITES_MAX))

/** `before`: the generations that it takes the place of. */
export const siteGeneration = record({ site: siteId, siteName: text(63), ...begun, before: lineage })
type Begun = Of<typeof siteGeneration>

type Registry = { generations?: Record<string, Registered> | undefined }

export function register(state: Registry, command: Begun): Outcome<undefined> {
  const { site, siteName, generation: next, member: by, before } = command
  const known = state.generations?.[site]
  const isSame = (each: { generation: number; member: string }): boolean =>
    each.generation === next && each.member === by
  if (known !== undefined && isSame(known)) return ok(undefined)
  if (known === undefined || (known.generation < next && before.includes(known.generation))) {
    const rivals = known?.rivals.filter((each) => each.generation !== next) ?? []
    state.generations = { ...state.generations, [site]: { generation: next, member: by, rivals } }
    return ok(undefined)
  }
  // What the registered one was begun from is history, and no rival.
  if (!known.rivals.some(isSame))
    known.rivals = [...known.rivals, { generation: next, member: by }].slice(-RIVALS_MAX)
  return failed({
    code: 'STALE',
    what: `generation of site/${siteName}`,
    expected: printGeneration(next),
    found: printGeneration(known.generation),
  })
}

/** Whether a generation was begun beside the registered one. */
export function isRival(registered: Registered | undefined, of: number): boolean {
  if (registered === undefined || of === registered.generation) return false
  // Two of one ordinal were begun from the same log; which of them was first the mesh has said.
  const isSibling = partsOf(of).ordinal === partsOf(registered.generation).ordinal
  return isSibling || registered.rivals.some((each) => each.generation === of)
}

/** Whether a log of one generation takes the place of another's. */
export function outranks(registered: Registered | undefined, heard: number, own: number): boolean {
  if (heard === own || isRival(registered, heard)) return false
  return heard > own || (isRival(registered, own) && heard === registered?.generation)
}
